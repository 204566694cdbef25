"""Stacks of 3x3 convolutions, or one large kernel with the same receptive field (Simonyan & Zisserman 2015, 2.3).

Very Deep Convolutional Networks for Large-Scale Image Recognition: n layers of 3x3 see 2n + 1 pixels per side, with
9 n C^2 weights instead of (2n + 1)^2 C^2 and n nonlinearities instead of one. All other parts of the two networks are
the same: a 1x1 stem, so that no other convolution sees neighbouring pixels, stages of equal width, a 2x2 max pooling
between them, and a linear head on the average of the maps.
"""

from typing import Any

from timm.layers import SelectAdaptivePool2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn


def make_unit(inputs: int, outputs: int, kernel: int, norm: bool) -> nn.Sequential:
    """Make a convolution that keeps the size, a batch norm or a bias, and a ReLU, initialised as in He et al. 2015."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU())


class StackedKernels(nn.Module):
    """A network whose stages each see `field` pixels per side of their input, by many small kernels or by one.

    Args:
        field: the receptive field of a stage, 3, 5, 7, ...: the size of its single kernel, or 2n + 1 of n stacked ones.
        stacked: several 3x3 kernels instead of one large kernel.
        width: channels, the same in every stage.
        stages: number of stages; each except the first begins with a 2x2 pooling.
        norm: batch norms instead of biases; VGG had none, and its deep networks were initialised by shallow ones.

    Raises:
        ValueError: a field that 3x3 kernels cannot have, or no stage.
    """

    def __init__(
        self,
        field: int = 7,
        stacked: bool = True,
        width: int = 64,
        stages: int = 2,
        norm: bool = True,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        if field < 3 or field % 2 == 0:
            raise ValueError(f"field={field}: stacked 3x3 kernels see 3, 5, 7, ... pixels")
        if stages < 1 or width < 1:
            raise ValueError(f"stages={stages}, width={width}: at least 1")
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features = self.head_hidden_size = width
        kernels = [3] * (field // 2) if stacked else [field]
        self.stem = make_unit(in_chans, width, 1, norm)
        self.stages = nn.Sequential()
        for index in range(stages):
            pool = [nn.MaxPool2d(2)] if index else []
            self.stages.append(nn.Sequential(*pool, *(make_unit(width, width, kernel, norm) for kernel in kernels)))
        self.feature_info = [
            {"num_chs": width, "reduction": 2**index, "module": f"stages.{index}"} for index in range(stages)
        ]
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(width, num_classes) if num_classes else nn.Identity()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """The stem, then stages (coarse) or convolutions."""
        return {"stem": r"^stem\.", "blocks": r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"}

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, c, h, w] into maps [n, width, h / 2^(stages - 1), w / 2^(stages - 1)], rounded down."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "stacked_kernels.untrained": {
            "url": "",
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "pool_size": (16, 16),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "stem.0",
            "classifier": "head",
        }
    }
)


@register_model
def stacked_kernels(pretrained: bool = False, **kwargs: Any) -> StackedKernels:
    """Stages of stacked 3x3 kernels (`stacked=false`: of one kernel) that see `field` pixels per side."""
    return build_model_with_cfg(StackedKernels, "stacked_kernels", pretrained, **kwargs)
