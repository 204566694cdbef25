"""Shake-Shake: two residual branches mixed in a random proportion, with another one for the gradient (Gastaldi 2017).

x + α·F₁(x) + (1 − α)·F₂(x), α ~ U(0, 1); the backward pass has β instead of α; evaluation has ½ (eq. 2, section 1.3).
26 layers: stem, 3 stages of 4 blocks of two 3×3 convolutions, head.

Details that the paper does not give are those of the authors' code: no ReLU after the stem, because every branch starts
with one; where the width changes, the ReLU is before the skip connection too; and the first stage uses the skip
connection of two paths at stride 1.
"""

from functools import partial
from typing import Any

import torch
from timm.layers import register_notrace_module
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from headstart.models.architectures import cifar, residual
from headstart.models.architectures.stochastic_depth import check_choice

MODES = ("shake_shake", "shake_even", "shake_keep", "even_even")
LEVELS = ("image", "batch")
BLOCKS = 4  # per stage
STEM = 16


class Mix(torch.autograd.Function):
    """`α·a + (1 − α)·b` forward; backward, `a` gets β of the gradient and `b` 1 − β."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(beta)
        return alpha * a + (1 - alpha) * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (beta,), gradient = ctx.saved_tensors, gradients[0]
        return beta * gradient, (1 - beta) * gradient, None, None


@register_notrace_module  # a trace would record one draw and repeat it
class ShakeShake(nn.Module):
    """Mixes two branches.

    Args:
        mode: how α (forward) and β (backward) are chosen. `shake_shake` draws α and β; `shake_even` draws α, β = ½;
            `shake_keep` draws α, β = α; `even_even` has ½ for both.
        level: one draw for each `image`, or one for the whole `batch`.

    Both are drawn in the forward pass, α first, from torch's global generator, so that they depend on the seed.
    """

    def __init__(self, mode: str = "shake_shake", level: str = "image") -> None:
        super().__init__()
        check_choice("mode", mode, MODES)
        check_choice("level", level, LEVELS)
        self.mode, self.level = mode, level

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if not self.training or self.mode == "even_even":
            return 0.5 * (a + b)
        alpha = self._draw(a)
        if self.mode == "shake_shake":
            beta = self._draw(a)
        else:
            beta = alpha if self.mode == "shake_keep" else torch.full_like(alpha, 0.5)
        mixed: Any = Mix.apply(a, b, alpha, beta)
        return mixed

    def _draw(self, like: Tensor) -> Tensor:
        count = len(like) if self.level == "image" else 1
        return torch.rand(count, 1, 1, 1, device=like.device).to(like.dtype)

    def extra_repr(self) -> str:
        return f"mode={self.mode}, level={self.level}"


class ShiftedSkip(nn.Module):
    """Half of the channels see every `stride`-th pixel, half the pixels one above and left of them; then batch norm.

    The paper's 1×1 average pooling at stride 2 and 1×1 convolution are one 1×1 convolution at stride 2; its shift by
    one pixel right and down adds zeros.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.straight = residual.conv(width_in, width // 2, 1, stride)
        self.shift = nn.ZeroPad2d((1, -1, 1, -1))
        self.shifted = residual.conv(width_in, width - width // 2, 1, stride)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.straight(x), self.shifted(self.shift(x))], dim=1))


class TwoBranches(nn.Module):
    """`mix(branch1(x), branch2(x))`, which a residual block adds to its skip connection."""

    def __init__(self, branch1: nn.Module, branch2: nn.Module, mix: ShakeShake) -> None:
        super().__init__()
        self.branch1, self.branch2, self.mix = branch1, branch2, mix

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.branch1(x), self.branch2(x))


def shake_shake_26(
    base_width: int,
    *,
    mode: str = "shake_shake",
    level: str = "image",
    width: float = 1.0,
    num_classes: int = 10,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    global_pool: str = "avg",
) -> cifar.CifarNet:
    """Shake-Shake 26 2×`base_width`d.

    Args:
        mode, level: see `ShakeShake`.
        width: multiplies `base_width`; 0.25 of 32 is 2×8d.
        drop_rate: dropout before the head.
    """
    if width <= 0:
        raise ValueError(f"width={width}: a number above 0")
    design = residual.Design(order="relu_only_preact", shortcut="B")

    def block(index: int, width_in: int, width: int, stride: int) -> nn.Module:
        changes = width_in != width or stride > 1
        first = "" if changes else design.rule.first
        one, two = (residual.branch(design, width_in, width, stride, first) for _ in range(2))
        return residual.Residual(
            residual.activation(design.rule.first if changes else "", width_in, inplace=False),
            TwoBranches(one, two, ShakeShake(mode, level)),
            ShiftedSkip(width_in, width, stride) if changes else nn.Identity(),
            nn.Identity(),
        )

    base = max(2, round(width * base_width))  # a skip connection has two halves
    widths = (base, 2 * base, 4 * base)
    return cifar.CifarNet(
        cifar.make_stem(in_chans, STEM, "N"),
        cifar.make_stages(block, STEM, widths, BLOCKS),
        residual.activation(design.rule.first, widths[-1], inplace=False),
        widths,
        num_classes=num_classes,
        drop_rate=drop_rate,
        global_pool=global_pool,
    )


default_cfgs = generate_default_cfgs({f"shake_shake_26_2x{d}d": cifar.pretrained_cfg() for d in (32, 64, 96)})


@register_model
def shake_shake_26_2x32d(pretrained: bool = False, **kwargs: Any) -> cifar.CifarNet:
    """2.9 M parameters."""
    return cifar.create(partial(shake_shake_26, 32), "shake_shake_26_2x32d", pretrained, **kwargs)


@register_model
def shake_shake_26_2x64d(pretrained: bool = False, **kwargs: Any) -> cifar.CifarNet:
    """11.7 M parameters."""
    return cifar.create(partial(shake_shake_26, 64), "shake_shake_26_2x64d", pretrained, **kwargs)


@register_model
def shake_shake_26_2x96d(pretrained: bool = False, **kwargs: Any) -> cifar.CifarNet:
    """26.2 M parameters."""
    return cifar.create(partial(shake_shake_26, 96), "shake_shake_26_2x96d", pretrained, **kwargs)
