"""DenseNet and DenseNet-BC for 32-pixel images (Huang et al. 2017, "Densely Connected Convolutional Networks").

Three dense blocks at full, half and quarter resolution. Section 3 defines the layers, section 4.2 the CIFAR form: L
counts every layer with weights, so a block has (L - 4) / 3 layers, half as many with bottlenecks. The CIFAR networks
have no max pooling and a 3x3 stem of stride 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = 3
BOTTLENECK = 4  # a bottleneck's 1x1 convolution has 4k outputs (section 3)


def _norm_act_conv(chs: int, out: int, kernel: int, drop_rate: float) -> list[nn.Module]:
    """The composite function H of section 3, BN-ReLU-conv; with a drop rate, dropout follows the convolution."""
    conv = nn.Conv2d(chs, out, kernel, padding=kernel // 2, bias=False)
    drop = [nn.Dropout(drop_rate)] if drop_rate else []  # none at rate 0, so that batch norms can be folded
    return [nn.BatchNorm2d(chs), nn.ReLU(inplace=True), conv, *drop]


class DenseLayer(nn.Module):
    """Adds `growth` new maps to all earlier maps of the block: [n, c, h, w] to [n, c + growth, h, w]."""

    def __init__(self, chs: int, growth: int, bottleneck: bool, drop_rate: float) -> None:
        super().__init__()
        middle = BOTTLENECK * growth if bottleneck else chs
        squeeze = _norm_act_conv(chs, middle, 1, drop_rate) if bottleneck else []
        self.body = nn.Sequential(*squeeze, *_norm_act_conv(middle, growth, 3, drop_rate))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class Transition(nn.Sequential):
    """Between two blocks: BN-ReLU-1x1 convolution to floor(compression x c) maps, then 2x2 average pooling."""

    def __init__(self, chs: int, out: int, drop_rate: float) -> None:
        super().__init__(*_norm_act_conv(chs, out, 1, drop_rate), nn.AvgPool2d(2))


class DenseNetCifar(nn.Module):
    """DenseNet of depth L = `depth` and growth rate k = `growth`.

    Args:
        depth: L; (L - 4) must divide by 3, with bottlenecks by 6.
        growth: k, the number of maps that each layer adds.
        bottleneck: put a 1x1 convolution to 4k maps before each 3x3 one (the B of DenseNet-BC).
        compression: theta in (0, 1], the share of maps that a transition keeps (the C).
        drop_rate: dropout after every convolution except the first; the paper has 0.2 for data without augmentation.

    Raises:
        ValueError: a depth or compression that the paper's construction does not allow.
    """

    def __init__(
        self,
        depth: int = 40,
        growth: int = 12,
        bottleneck: bool = False,
        compression: float = 1.0,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        per_block = BLOCKS * (2 if bottleneck else 1)
        if depth <= 4 or (depth - 4) % per_block:
            raise ValueError(f"depth={depth}: depth - 4 must be a positive multiple of {per_block}")
        if growth < 1 or not 0 < compression <= 1:
            raise ValueError(f"growth={growth} must be at least 1, and compression={compression} in (0, 1]")
        self.num_classes, self.in_chans = num_classes, in_chans
        # no self.drop_rate: in timm's interface that is the dropout before the classifier, which this network lacks
        chs = 2 * growth if bottleneck and compression < 1 else 16  # section 3, "Implementation Details"
        self.stem = nn.Conv2d(in_chans, chs, 3, padding=1, bias=False)
        self.stages = nn.Sequential()
        self.feature_info: list[dict[str, Any]] = []
        for index in range(BLOCKS):
            layers: list[nn.Module] = []
            if index:
                out = int(compression * chs)
                layers.append(Transition(chs, out, drop_rate))
                chs = out
            for _ in range((depth - 4) // per_block):
                layers.append(DenseLayer(chs, growth, bottleneck, drop_rate))
                chs += growth
            self.stages.append(nn.Sequential(*layers))
            self.feature_info.append({"num_chs": chs, "reduction": 2**index, "module": f"stages.{index}"})
        self.norm = nn.BatchNorm2d(chs)
        self.act = nn.ReLU(inplace=True)
        self.num_features = self.head_hidden_size = chs
        self.global_pool, self.classifier = create_classifier(chs, num_classes, pool_type=global_pool)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": [(blocks, None), (r"^norm", (99999,))]}

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        pool = global_pool if global_pool is not None else self.global_pool.pool_type
        self.global_pool, self.classifier = create_classifier(self.num_features, num_classes, pool_type=pool)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, in_chans, h, w] into maps [n, num_features, h/4, w/4]."""
        return self.act(self.norm(self.stages(self.stem(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.global_pool(x)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": (8, 8),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.4914, 0.4822, 0.4465),  # CIFAR-10's training images
        "std": (0.2470, 0.2435, 0.2616),
        "first_conv": "stem",
        "classifier": "classifier",
    }


default_cfgs = generate_default_cfgs({"densenet_cifar": _cfg(), "densenet_bc_100_12": _cfg()})


@register_model
def densenet_cifar(pretrained: bool = False, **kwargs: Any) -> DenseNetCifar:
    """DenseNet, by default L=40 k=12: 1.0 M parameters (Table 2); `depth`, `growth` and others change it."""
    return build_model_with_cfg(DenseNetCifar, "densenet_cifar", pretrained, **kwargs)


@register_model
def densenet_bc_100_12(pretrained: bool = False, **kwargs: Any) -> DenseNetCifar:
    """DenseNet-BC, L=100 k=12: 0.8 M parameters (Table 2)."""
    options = {"depth": 100, "growth": 12, "bottleneck": True, "compression": 0.5} | kwargs
    return build_model_with_cfg(DenseNetCifar, "densenet_bc_100_12", pretrained, **options)
