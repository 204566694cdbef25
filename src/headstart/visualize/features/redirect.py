"""Gradients through ReLU and ReLU6 where there are none: an image can leave the place where a unit is silent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _Redirected(torch.autograd.Function):
    """Clamps x to low … high, as a ReLU does, and lets a gradient pass that leads back into this range.

    Below it a step that would raise x passes, above it one that would lower x; only for an image all of whose gradient
    would be lost here, for others it is the ReLU's own. After `redirected_relu_grad` of the library Lucid (Olah et al.
    2017).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients  # of the loss, which descends
        below, above = x <= ctx.low, x >= ctx.high
        own = gradient.masked_fill(below | above, 0)
        lost = own.flatten(1).abs().amax(1) == 0
        useful = ~((below & (gradient > 0)) | (above & (gradient < 0)))
        return torch.where(lost.reshape(-1, *(1,) * (x.ndim - 1)), gradient * useful, own), None, None


def _clamp(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return _Redirected.apply(input, min_val, max_val)


def _relu(input: Tensor, inplace: bool = False) -> Any:
    return _Redirected.apply(input, 0.0, math.inf)


def _relu6(input: Tensor, inplace: bool = False) -> Any:
    return _Redirected.apply(input, 0.0, 6.0)


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _relu),
    functional.relu6: _relu6,
    functional.hardtanh: _clamp,  # what torch's module ReLU6 calls
}


class RedirectedGradients(TorchFunctionMode):
    """Inside this context every ReLU and ReLU6 of a network has redirected gradients."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))
