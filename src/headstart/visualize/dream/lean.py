"""Gradients in the image that keep a tenth of the usual memory between the forward and the backward pass.

torch keeps the input of each convolution and batch norm, which only gradients of weights need. A gradient in the image
needs the weights, and of each ReLU which values passed: a byte each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headstart.visualize.replaced import Replaced, Replacements, replace_relus


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.strides, ctx.how = x.shape, x.stride(), how
        return functional.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (stride, padding, dilation, groups) = ctx.saved_tensors, ctx.how
        like_input = weight.new_empty_strided(ctx.shape, ctx.strides)  # its values are not read: it takes no memory
        sizes = (_pair(stride), _pair(padding), _pair(dilation))
        gradient, _, _ = torch.ops.aten.convolution_backward(
            gradients[0], like_input, weight, None, *sizes, False, (0, 0), groups, (True, False, False)
        )
        return gradient, None, None, *(None for _ in ctx.how)


def _pair(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return torch.addcmul(shift, x, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, inplace: bool) -> Tensor:
        ctx.save_for_backward((x > low).logical_and_(x < high))
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None, None


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    if isinstance(padding, str) or input.ndim != 4:
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    return _Convolution.apply(input, weight, bias, stride, padding, dilation, groups)


def _normalise(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None or running_var is None:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - running_mean * scale
    shape = (-1, *(1,) * (input.ndim - 2))
    return _Scale.apply(input, scale.view(shape), shift.view(shape))


def save_memory() -> Replaced:
    """The context in which a network whose weights need no gradient keeps less; its results are the same."""
    own: Replacements = {functional.conv2d: _convolve, functional.batch_norm: _normalise}
    return Replaced({**replace_relus(_Clamp.apply), **own})
