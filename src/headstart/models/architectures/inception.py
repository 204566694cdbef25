"""The Inception module: 1x1, 3x3 and 5x5 convolutions and a max pooling in parallel (Szegedy et al. 2015, Figure 2b).

Going Deeper with Convolutions, section 4: 1x1 convolutions reduce the channels before the larger kernels, and project
them after the pooling. Branches can be left out, to measure what each contributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BRANCHES = ("1x1", "3x3", "5x5", "pool")


@dataclass(frozen=True)
class Columns:
    """A module's channels, in the order of the columns of Table 1."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int

    def widen(self, width: float) -> Columns:
        return Columns(*(scale_channels(value, width) for value in vars(self).values()))


def scale_channels(channels: int, width: float) -> int:
    """Multiply `channels` by `width`; the result is rounded, and at least 1."""
    return max(1, round(channels * width))


def choose_branches(branches: str | Iterable[str]) -> tuple[str, ...]:
    """The branches in a comma-separated text or a list, in Table 1's order; ValueError for an unknown one or none."""
    named = [part.strip() for part in (branches.split(",") if isinstance(branches, str) else branches)]
    unknown = [part for part in named if part not in BRANCHES]
    if unknown or not named:
        raise ValueError(f"branches={branches!r}: name one or more of {', '.join(BRANCHES)}")
    return tuple(part for part in BRANCHES if part in named)


class Unit(nn.Sequential):
    """A convolution with padding and a ReLU, with a batch norm between them or with a bias.

    Weights are initialised as in He et al. (2015, ICCV) for ReLU, because Szegedy et al. do not describe theirs.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, norm: bool = False) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        super().__init__()
        self.conv = conv
        if norm:
            self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = nn.ReLU()


class Inception(nn.Module):
    """Turns [n, inputs, h, w] into [n, outputs, h, w]: the concatenated maps of the branches.

    Args:
        kernel: of the third branch: 5 as in the paper, or 3 as in torchvision.
        branches: which of the four branches to use; the channels of a branch do not change if others are left out.
        norm: batch norms instead of biases.
    """

    def __init__(
        self,
        inputs: int,
        columns: Columns,
        kernel: int = 5,
        branches: str | Iterable[str] = BRANCHES,
        norm: bool = False,
    ) -> None:
        super().__init__()
        c = columns
        make: dict[str, Callable[[], list[nn.Module]]] = {
            "1x1": lambda: [Unit(inputs, c.one, 1, norm=norm)],
            "3x3": lambda: [Unit(inputs, c.reduce3, 1, norm=norm), Unit(c.reduce3, c.three, 3, norm=norm)],
            "5x5": lambda: [Unit(inputs, c.reduce5, 1, norm=norm), Unit(c.reduce5, c.five, kernel, norm=norm)],
            "pool": lambda: [nn.MaxPool2d(3, 1, 1), Unit(inputs, c.pool, 1, norm=norm)],
        }
        channels = dict(zip(BRANCHES, (c.one, c.three, c.five, c.pool), strict=True))
        names = choose_branches(branches)
        self.branches = nn.ModuleDict({name: nn.Sequential(*make[name]()) for name in names})
        self.outputs = sum(channels[name] for name in names)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches.values()], 1)
