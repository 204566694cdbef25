"""NASNet-A (4 @ 1056), "NASNet mobile" (Zoph et al. 2018, "Learning Transferable Architectures").

The two cells are those of Figure 4, stacked as in Figure 2 for ImageNet: a convolution of stride 2 and two reduction
cells come first. Each convolution is between a ReLU and a batch norm, and each separable one is applied twice. Details
that the figures do not show (how h_(i-1) gets the size of h_i, and that the first convolution has no padding) are those
of the authors' published network; the number of parameters is exactly the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from headstart.models.architectures.nasnet_cell import Cell, make_norm

if TYPE_CHECKING:
    from torch import Tensor


class NASNet(nn.Module):
    """NASNet-A (N @ P): three stages of `repeats` = N normal cells, the last with `penultimate` = P maps.

    A reduction cell, with twice the filters, comes before the second and the third stage.

    Args:
        stem_chs: maps of the first convolution.
        drop_rate: dropout before the classifier (the authors train with 0.5).
        pad_type: `same` pads as Keras before a stride of 2, an empty text pads all sides alike.

    Raises:
        ValueError: P cannot be divided among the cells' filters, or no such `pad_type`.
    """

    def __init__(
        self,
        repeats: int = 4,
        penultimate: int = 1056,
        stem_chs: int = 32,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        pad_type: str = "same",
    ) -> None:
        super().__init__()
        filters, left = divmod(penultimate, 24)  # 6F maps after two doublings
        if left or filters < 4 or filters % 4 or repeats < 1:
            raise ValueError(f"penultimate={penultimate} must be a multiple of 96, and repeats={repeats} at least 1")
        if pad_type not in ("", "same"):
            raise ValueError(f"pad_type={pad_type!r} must be 'same', as in Keras, or '', the same on all sides")
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.num_features = self.head_hidden_size = penultimate
        # without padding, as the authors', so that 224 pixels become 111, 56, 28, 14, 7
        self.conv_stem = nn.Sequential(nn.Conv2d(in_chans, stem_chs, 3, stride=2, bias=False), make_norm(stem_chs))
        first = Cell(stem_chs, stem_chs, filters // 4, reduce=True, project_previous=False, pad_type=pad_type)
        second = Cell(first.out_chs, stem_chs, filters // 2, reduce=True, halve_previous=True, pad_type=pad_type)
        self.stem_cells = nn.ModuleList([first, second])
        chs, previous = second.out_chs, first.out_chs
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": stem_chs, "reduction": 2, "module": "conv_stem"},
            {"num_chs": previous, "reduction": 4, "module": "stem_cells.0"},
        ]
        self.stages = nn.ModuleList()
        halve = True
        for index in range(3):
            stage = nn.ModuleList()
            for at in range(repeats + (index > 0)):
                reduce = index > 0 and at == 0
                cell = Cell(chs, previous, filters * 2**index, reduce, halve, pad_type=pad_type)
                stage.append(cell)
                chs, previous, halve = cell.out_chs, chs, reduce
            self.stages.append(stage)
            last = f"stages.{index}.{len(stage) - 1}"
            self.feature_info.append({"num_chs": chs, "reduction": 8 * 2**index, "module": last})
        self.act = nn.ReLU()
        self.global_pool, self.classifier = create_classifier(chs, num_classes, pool_type=global_pool)
        self.head_drop = nn.Dropout(drop_rate)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem|^stem_cells", "blocks": [(blocks, None)]}

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        pool = global_pool if global_pool is not None else self.global_pool.pool_type
        self.global_pool, self.classifier = create_classifier(self.num_features, num_classes, pool_type=pool)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, in_chans, h, w] into maps [n, num_features, h/32, w/32]."""
        x = previous = self.conv_stem(x)
        for cell in self.stem_cells:
            x, previous = cell(x, previous), x
        for stage in self.stages:
            for cell in stage.children():
                x, previous = cell(x, previous), x
        return self.act(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "nasnet_mobile": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),  # images are scaled to -1..1
            "std": (0.5, 0.5, 0.5),
            "first_conv": "conv_stem.0",
            "classifier": "classifier",
        }
    }
)


@register_model
def nasnet_mobile(pretrained: bool = False, **kwargs: Any) -> NASNet:
    """NASNet-A (4 @ 1056): 5.3 M parameters, 564 M multiply-adds at 224 pixels (Table 3); no auxiliary head.

    5,289,978 parameters; with the batch norms' 36,738 running means and variances the 5,326,716 that Keras counts.
    """
    return build_model_with_cfg(NASNet, "nasnet_mobile", pretrained, **kwargs)
