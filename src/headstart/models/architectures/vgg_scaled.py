"""VGG with fewer channels, for small images and machines (Simonyan & Zisserman 2015, Table 1); else it is timm's VGG.

The number and order of the convolutions and of the two hidden linear layers are the same. The code is that of
`timm.models.vgg`: a map smaller than 7x7 is repeated to that size before the first linear layer.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vgg import VGG, cfgs
from torch import nn

from headstart.models.architectures.inception import scale_channels

DEPTHS = (11, 13, 16, 19)

default_cfgs = generate_default_cfgs(
    {
        "vgg_scaled": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (1, 1),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),  # ImageNet's training images
            "std": (0.229, 0.224, 0.225),
            "first_conv": "features.0",
            "classifier": "head.fc",
        }
    }
)


@register_model
def vgg_scaled(pretrained: bool = False, depth: int = 16, width: float = 1.0, norm: bool = True, **kwargs: Any) -> VGG:
    """VGG with `depth` layers, with batch norms if `norm`; 138.4 M parameters at depth 16 and width 1 without them.

    `width` multiplies the channels of the convolutions and of the first linear layer; the second one has always 4096.

    Raises:
        ValueError: a depth that is not in the paper, or a width that is not above 0.
    """
    if depth not in DEPTHS or width <= 0:
        raise ValueError(f"depth={depth}, width={width}: VGG has 11, 13, 16 or 19 layers, and a width above 0")
    layers = [part if isinstance(part, str) else scale_channels(part, width) for part in cfgs[f"vgg{depth}"]]
    options = {"mlp_ratio": width, "norm_layer": nn.BatchNorm2d if norm else None} | kwargs
    features = {"flatten_sequential": True, "out_indices": (0, 1, 2, 3, 4, 5)}
    return build_model_with_cfg(VGG, "vgg_scaled", pretrained, model_cfg=layers, feature_cfg=features, **options)
