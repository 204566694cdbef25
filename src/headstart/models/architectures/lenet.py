"""LeNet-5 for handwritten digits (LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition).

The original form differs from the paper (section II.B) in four points. The output is a linear layer with softmax
instead of Euclidean radial basis functions with fixed 7x12 bitmaps (850 parameters to learn instead of none). A
subsampling unit scales the mean of its four inputs, not their sum. Initial weights are torch's. There are three input
channels unless `in_chans=1`; with one, the layers up to F6 have the paper's 60,000 parameters. The modern form has
ReLU, max pooling and a C3 in which each map sees all maps of S2.
"""

from typing import Any

import torch
from timm.layers import SelectAdaptivePool2d, register_notrace_module
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

# Table I of the paper: the maps of S2 that each map of C3 sees.
TABLE = (
    *(tuple(sorted((first + step) % 6 for step in range(3))) for first in range(6)),
    *(tuple(sorted((first + step) % 6 for step in range(4))) for first in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)


class Squash(nn.Module):
    """f(a) = 1.7159 tanh(2a/3), so that f(1) = 1 and f(-1) = -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """Halves the size: for each channel the mean over 2x2 pixels, times a learned coefficient, plus a learned bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) * self.weight + self.bias


@register_notrace_module
class TableConv2d(nn.Module):
    """A 5x5 convolution in which each output map sees the input maps that `TABLE` lists: 60 kernels, 16 biases.

    For the computation the kernels are put into a dense tensor, so it has as many operations as a dense convolution.
    """

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        dense = nn.Conv2d(6, len(TABLE), 5)
        pairs = [6 * map_ + seen for map_, row in enumerate(TABLE) for seen in row]
        self.weight = nn.Parameter(dense.weight.detach().reshape(-1, 5, 5)[pairs].clone())
        self.bias = nn.Parameter(dense.bias.detach().clone()) if dense.bias is not None else None
        self.register_buffer("index", torch.tensor(pairs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(len(TABLE) * 6, 5, 5).index_copy(0, self.index, self.weight)
        return functional.conv2d(x, dense.view(len(TABLE), 6, 5, 5), self.bias)


class LeNet5(nn.Module):
    """C1, S2, C3, S4, C5, F6 and the output, with the paper's names.

    It is made for 32 pixels, where C5 sees all of S4. For larger images C5 is applied at each position, as in the
    paper, and its maps are averaged. For fewer than 32 - 2 padding pixels, torch reports that the kernel is too large.

    Args:
        form: `original` or `modern`.
        padding: zeros around the image; 2 is the paper's frame around the 28 pixels of a digit.
    """

    def __init__(
        self,
        form: str = "original",
        num_classes: int = 10,
        in_chans: int = 3,
        padding: int = 0,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        if form not in ("original", "modern"):
            raise ValueError(f"variant={form}: LeNet-5 is original or modern")
        modern = form == "modern"
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features, self.head_hidden_size = 120, 84
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": module}
            for channels, reduction, module in ((6, 1, "c1"), (6, 2, "s2"), (16, 4, "s4"), (120, 4, "c5"))
        ]

        def layer(inner: nn.Module) -> nn.Sequential:
            return nn.Sequential(inner, nn.ReLU() if modern else Squash())

        def half(channels: int) -> nn.Module:
            return nn.MaxPool2d(2) if modern else layer(Subsample(channels))

        self.c1 = layer(nn.Conv2d(in_chans, 6, 5, padding=padding))
        self.s2 = half(6)
        self.c3 = layer(nn.Conv2d(6, 16, 5) if modern else TableConv2d())
        self.s4 = half(16)
        self.c5 = layer(nn.Conv2d(16, 120, 5))
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.f6 = layer(nn.Linear(120, 84))
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(84, num_classes) if num_classes else nn.Identity()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers by number; if `coarse`, a subsampling belongs to the convolution before it."""
        if coarse:
            blocks = [(r"^c3\.|^s4\.", (1,)), (r"^c5\.", (2,)), (r"^f6\.", (3,)), (r"^fc\.", (4,))]
            return {"stem": r"^c1\.|^s2\.", "blocks": blocks}
        return {"stem": r"^c1\.", "blocks": [(r"^[csf](\d)\.", None), (r"^fc\.", (7,))]}

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.fc = nn.Linear(84, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, c, 32, 32] into C5's output [n, 120, 1, 1]."""
        return self.c5(self.s4(self.c3(self.s2(self.c1(x)))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.f6(self.global_pool(x)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "lenet5.untrained": {
            "url": "",
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "pool_size": (1, 1),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "c1.0",
            "classifier": "fc",
        }
    }
)


@register_model
def lenet5(pretrained: bool = False, variant: str = "original", padding: int = 0, **kwargs: Any) -> LeNet5:
    """LeNet-5 with 60,850 parameters (`variant=modern`: 61,706) for one input channel, 61,150 (62,006) for three."""
    side = 32 - 2 * padding
    overlay = {"input_size": (3, side, side)} | (kwargs.pop("pretrained_cfg_overlay", None) or {})
    return build_model_with_cfg(
        LeNet5, "lenet5", pretrained, form=variant, padding=padding, pretrained_cfg_overlay=overlay, **kwargs
    )
