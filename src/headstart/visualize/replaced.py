"""Let a network call other functions than torch's, whatever its modules are: with gradients of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Replacements = Mapping[Callable[..., Any], Callable[..., Any]]


class Replaced(TorchFunctionMode):
    """Inside this context other functions are called in place of some of torch's, with the same arguments."""

    def __init__(self, replacements: Replacements) -> None:
        super().__init__()
        self._replacements = replacements

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self._replacements.get(func, func)(*args, **(kwargs or {}))


def replace_relus(clamp: Callable[[Tensor, float, float, bool], Any]) -> Replacements:
    """Replace all forms of ReLU and ReLU6.

    Args:
        clamp: a function of x, of the limits between which it is left as it is, and of whether x may be overwritten.
    """

    def relu(input: Tensor, inplace: bool = False) -> Any:
        return clamp(input, 0.0, math.inf, inplace)

    def relu6(input: Tensor, inplace: bool = False) -> Any:
        return clamp(input, 0.0, 6.0, inplace)

    def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
        return clamp(input, min_val, max_val, inplace)

    def overwrite(input: Tensor) -> Any:
        return clamp(input, 0.0, math.inf, True)

    return {
        **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), relu),
        **dict.fromkeys((torch.relu_, Tensor.relu_), overwrite),
        functional.relu6: relu6,
        functional.hardtanh: hardtanh,  # what torch's module ReLU6 calls
    }
