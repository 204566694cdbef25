"""Residual blocks in the five orders of He et al. 2016 ("Identity Mappings in Deep Residual Networks", Fig. 4).

==================  =========================================  ============
order               branch (basic)                             after adding
==================  =========================================  ============
original            conv BN ReLU conv BN                       ReLU
bn_after_add        conv BN ReLU conv                          BN ReLU
relu_before_add     conv BN ReLU conv BN ReLU
relu_only_preact    ReLU conv BN ReLU conv BN
full_preact         BN ReLU conv BN ReLU conv
==================  =========================================  ============

With pre-activation, the activation of the network's first block comes directly after the stem's convolution, before the
two paths split, and another one follows the last block (section 4 of the paper). At a projection shortcut the paths
split after the activation too, as in the authors' code.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from headstart.models.architectures.stochastic_depth import check_choice


@dataclass(frozen=True)
class Order:
    """The places of batch norms (N) and ReLUs (R); between two convolutions it is always NR."""

    first: str  # before the branch's first convolution
    last: str  # after the branch's last convolution
    added: str  # after the addition


ORDERS = {
    "original": Order("", "N", "R"),
    "bn_after_add": Order("", "", "NR"),
    "relu_before_add": Order("", "NR", ""),
    "relu_only_preact": Order("R", "N", ""),
    "full_preact": Order("NR", "", ""),
}
SHORTCUTS = ("A", "B", "none")
EXPANSION = 4  # a bottleneck's output has this many times the channels of its 3×3 convolution


@dataclass(frozen=True)
class Design:
    """The design that all blocks of one network share.

    Args:
        order: a key of `ORDERS`.
        shortcut: where the shape changes, `A` subsamples and adds channels of zeros, `B` projects by a 1×1 convolution
            (He et al. 2015, section 3.3); with `none` there is no shortcut in any block: a plain network.
        bottleneck: 1×1, 3×3 and 1×1 instead of two 3×3 convolutions.
    """

    order: str = "original"
    shortcut: str = "A"
    bottleneck: bool = False

    def __post_init__(self) -> None:
        check_choice("order", self.order, ORDERS)
        check_choice("shortcut", self.shortcut, SHORTCUTS)
        if self.shortcut == "none" and self.order != "original":
            raise ValueError(f"order={self.order}: a plain network has no addition; use order=original")

    @property
    def rule(self) -> Order:
        return ORDERS[self.order]


class Subsample(nn.Module):
    """Option A: every `stride`-th pixel, and `padding` channels of zeros after the input's; no parameters."""

    def __init__(self, stride: int, padding: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))


class Residual(nn.Module):
    """`after(branch(pre(x)) + shortcut(pre(x)))`; the branch may return a zero without dimensions."""

    def __init__(self, pre: nn.Module, branch: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.pre, self.branch, self.shortcut, self.after = pre, branch, shortcut, after

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        return self.after(self.branch(x) + self.shortcut(x))


def conv(width_in: int, width: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size at stride 1."""
    return nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False)


def activation(letters: str, width: int, inplace: bool = True) -> nn.Sequential:
    """Batch norm (N) and ReLU (R), as the letters say; `inplace` must be False if the input is used again."""
    return nn.Sequential(*(nn.BatchNorm2d(width) if letter == "N" else nn.ReLU(inplace) for letter in letters))


def branch(design: Design, width_in: int, width: int, stride: int, first: str) -> nn.Sequential:
    """The convolutions of a block, with `first` before them. A bottleneck's stride is in its first 1×1."""
    inner = width // EXPANSION if design.bottleneck else width
    widths, kernels = ((inner, inner, width), (1, 3, 1)) if design.bottleneck else ((width, width), (3, 3))
    layers = [*activation(first, width_in, inplace=first != "R")]  # a ReLU alone, in place, would change the shortcut
    for index, (out, kernel) in enumerate(zip(widths, kernels, strict=True)):
        layers += [conv(width_in, out, kernel, stride if index == 0 else 1)]
        layers += activation("NR" if index < len(widths) - 1 else design.rule.last, out)
        width_in = out
    return nn.Sequential(*layers)


def shortcut(design: Design, width_in: int, width: int, stride: int) -> nn.Module:
    """The shortcut, which is added to the branch; a projection has a batch norm if the branch ends with one."""
    if stride == 1 and width_in == width:
        return nn.Identity()
    if design.shortcut == "A":
        return Subsample(stride, width - width_in)
    norm = "N" if "N" in design.rule.last else ""
    return nn.Sequential(conv(width_in, width, 1, stride), *activation(norm, width))


def shares_activation(design: Design, width_in: int, width: int, stride: int, activated: bool) -> bool:
    """Whether both paths share the pre-activation: so it is at a projection, unless the input is already activated."""
    return not activated and design.shortcut == "B" and (stride > 1 or width_in != width)


def initialise(model: nn.Module) -> None:
    """Initialise every convolution by He's normal distribution with variance 2 / fan-out; batch norms keep 1 and 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
