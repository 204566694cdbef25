"""The two cells of NASNet-A (Zoph et al. 2018, Figure 4), and the layers that they are made of.

Before a stride of 2, `pad_type="same"` pads with zeros as Keras does: at an even side, one row and column fewer at the
top and left than at the bottom and right. Its pooling layers take these zeros for pixels. `pad_type=""` pads all sides
alike, and its pooling layers ignore the padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from timm.layers import AvgPool2dSame, Conv2dSame, pad_same, register_notrace_module
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

Step = tuple[str, int]  # an operation and the state that it reads
CURRENT, PREVIOUS = 0, 1  # states of a cell: h_i, h_(i-1), then one for each pair of steps, which are added
NORMAL: tuple[tuple[Step, Step], ...] = (
    (("separable5", CURRENT), ("separable3", PREVIOUS)),
    (("separable5", PREVIOUS), ("separable3", PREVIOUS)),
    (("average3", CURRENT), ("identity", PREVIOUS)),
    (("average3", PREVIOUS), ("average3", PREVIOUS)),
    (("separable3", CURRENT), ("identity", CURRENT)),
)
REDUCTION: tuple[tuple[Step, Step], ...] = (
    (("separable5", CURRENT), ("separable7", PREVIOUS)),
    (("max3", CURRENT), ("separable7", PREVIOUS)),
    (("average3", CURRENT), ("separable5", PREVIOUS)),
    (("identity", 3), ("average3", 2)),
    (("separable3", 2), ("max3", CURRENT)),
)
# joined to the output: h_(i-1) and all sums; in a reduction cell all but the first sum
NORMAL_JOINS = (PREVIOUS, 2, 3, 4, 5, 6)
REDUCTION_JOINS = (3, 4, 5, 6)


def make_norm(chs: int) -> nn.BatchNorm2d:
    """A batch norm with the authors' epsilon, but torch's momentum: 0.0003 needs more steps than a transfer run has."""
    return nn.BatchNorm2d(chs, eps=1e-3)


@register_notrace_module
class MaxPoolOfZeros(nn.Module):
    """Max pooling 3x3 with stride 2, whose padding is zeros and not minus infinity, as in Keras."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(pad_same(x, [3, 3], [2, 2]), 3, 2)


def _depthwise(chs: int, kernel: int, stride: int, same: bool) -> nn.Conv2d:
    if same and stride == 2:
        return Conv2dSame(chs, chs, kernel, stride, groups=chs, bias=False)
    return nn.Conv2d(chs, chs, kernel, stride, kernel // 2, groups=chs, bias=False)


def _separable(chs: int, out: int, kernel: int, stride: int, same: bool) -> nn.Sequential:
    """ReLU, depthwise and pointwise convolution, batch norm; all of it twice, with the stride in the first."""
    layers: list[nn.Module] = []
    for width, step in ((chs, stride), (out, 1)):
        layers += [
            nn.ReLU(),
            _depthwise(width, kernel, step, same),
            nn.Conv2d(width, out, 1, bias=False),
            make_norm(out),
        ]
    return nn.Sequential(*layers)


def _operation(name: str, chs: int, out: int, stride: int, same: bool) -> nn.Module:
    """One of Figure 4's operations; those other than separable convolutions do not change the channels."""
    if name.startswith("separable"):
        return _separable(chs, out, int(name[-1]), stride, same)
    if same and stride == 2 and name != "identity":
        return AvgPool2dSame(3, stride) if name == "average3" else MaxPoolOfZeros()
    if name == "average3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    return nn.MaxPool2d(3, stride, 1) if name == "max3" else nn.Identity()


class Project(nn.Sequential):
    """ReLU, 1x1 convolution to `out` maps, batch norm."""

    def __init__(self, chs: int, out: int) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(chs, out, 1, bias=False), make_norm(out))


class FactorizedReduction(nn.Module):
    """Halves h and w, rounded up: 1x1 convolutions of every second pixel, and of the pixels one below and right."""

    def __init__(self, chs: int, out: int) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.even = nn.Conv2d(chs, out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(chs, out - out // 2, 1, stride=2, bias=False)
        self.norm = make_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x)
        shifted = functional.pad(x, (-1, 1, -1, 1))  # adds zeros where an odd side has no further pixel
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))


class Cell(nn.Module):
    """A cell of F filters on h_i and h_(i-1): 6F maps (normal), or 4F at half resolution (reduction).

    Args:
        chs, previous_chs: maps of h_i and of h_(i-1).
        filters: F, to which both are projected first.
        reduce: a reduction cell.
        halve_previous: h_(i-1) has twice the resolution of h_i.
        project_previous: False only in the first cell, which reads the stem twice, once without a projection.
        pad_type: `same` or empty, as the module's docstring explains.
    """

    def __init__(
        self,
        chs: int,
        previous_chs: int,
        filters: int,
        reduce: bool = False,
        halve_previous: bool = False,
        project_previous: bool = True,
        pad_type: str = "same",
    ) -> None:
        super().__init__()
        pairs = REDUCTION if reduce else NORMAL
        self.joins = REDUCTION_JOINS if reduce else NORMAL_JOINS
        self.out_chs = filters * len(self.joins)
        self.current = Project(chs, filters)
        self.previous: nn.Module = nn.Identity()
        if project_previous:
            self.previous = (FactorizedReduction if halve_previous else Project)(previous_chs, filters)
        self.reads = [state for pair in pairs for _, state in pair]
        self.steps = nn.ModuleList()
        for name, state in (step for pair in pairs for step in pair):
            width = previous_chs if state == PREVIOUS and not project_previous else filters
            stride = 2 if reduce and state in (CURRENT, PREVIOUS) else 1
            self.steps.append(_operation(name, width, filters, stride, pad_type == "same"))

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        states = [self.current(x), self.previous(previous)]
        for index in range(0, len(self.reads), 2):
            left, right = self.reads[index : index + 2]
            states.append(self.steps[index](states[left]) + self.steps[index + 1](states[right]))
        return torch.cat([states[joined] for joined in self.joins], dim=1)
