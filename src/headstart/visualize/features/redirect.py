"""Gradients through ReLU and ReLU6 where there are none: an image can leave the place where a unit is silent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.visualize.replaced import Replaced, replace_relus


class _Redirected(torch.autograd.Function):
    """Clamps x to low … high, as a ReLU does, and lets a gradient pass that leads back into this range.

    Below it a step that would raise x passes, above it one that would lower x; only for an image all of whose gradient
    would be lost here, for others it is the ReLU's own. After `redirected_relu_grad` of the library Lucid (Olah et al.
    2017).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, inplace: bool) -> Tensor:
        ctx.save_for_backward(x.clone() if inplace else x)
        ctx.low, ctx.high = low, high
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients  # of the loss, which descends
        own = torch.ops.aten.hardtanh_backward(gradient, x, ctx.low, ctx.high)
        others = tuple(range(1, x.ndim))
        lost = torch.linalg.vector_norm(own, dim=others) == 0  # the fastest reduction, but small squares underflow to 0
        if lost.any():
            lost &= own.abs().amax(others) == 0
            x, gradient = x[lost], gradient[lost]
            useful = ~((x <= ctx.low) & (gradient > 0) | (x >= ctx.high) & (gradient < 0))
            own[lost] = gradient * useful
        return own, None, None, None


def redirect_gradients() -> Replaced:
    """The context in which every ReLU and ReLU6 of a network has redirected gradients."""
    return Replaced(replace_relus(_Redirected.apply))
