"""Networks without values: their layers, names and shapes, at no cost of memory or of random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_STEPS = ("normal_", "uniform_", "erfinv_", "clamp_", "fill_", "zero_", "mul_", "add_", "div_", "sub_")
_INITS = ("normal_", "uniform_", "constant_", "kaiming_uniform_")  # those of torch that a mode gets to see as one call
_FILLING = frozenset([*(getattr(Tensor, name) for name in _STEPS), *(getattr(nn.init, name) for name in _INITS)])


class _SkipFilling(TorchFunctionMode):
    """What would fill a tensor of the meta device returns it as it is: on that device torch takes 2 ms for each.

    Vectors are filled, which is cheap: so an initialisation that asks for a matrix is still refused.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta and tensor.ndim > 1:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def without_values() -> Iterator[None]:
    """Inside this context, a new network is on the meta device, and its weights are not initialised."""
    with torch.device("meta"), _SkipFilling():
        yield
