"""EfficientNet scaled by one coefficient in depth, width and resolution (Tan & Le 2019, section 3.3, equation 3).

depth = alpha^phi, width = beta^phi, resolution = gamma^phi; cost grows as (alpha * beta^2 * gamma^2)^phi, about 2^phi
with the paper's 1.2, 1.1, 1.15. The base network (phi = 0) is EfficientNet-B0 at 224 pixels, or a smaller one.

The published B1 to B7 are these scales rounded by hand: phi = 0.5 gives B1's (1.1, 1.0, 240), but B7 is (3.1, 2.0, 600)
and phi = 7 gives (3.6, 1.9, 596). A stage's repeats are rounded up, so the measured cost of the compound scale is 4 to
37 % above the formula (most at phi = 0.5, least at 6). If only one factor is scaled so that the cost doubles with each
phi from 1 to 4, the cost is within 10 % of the formula.
"""

from dataclasses import dataclass
from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import EfficientNet

from headstart.models.timm_internals import build_efficientnet

STEP = 4  # pixels; every published resolution (224, 240, 260, 300, 380, 456, 528, 600) is a multiple of it


@dataclass(frozen=True)
class Scale:
    """Multipliers of B0's repeats per stage (rounded up) and channels (to a multiple of 8), and pixels of a side."""

    depth: float
    width: float
    resolution: int


def compute_scale(
    phi: float,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    *,
    base_depth: float = 1.0,
    base_width: float = 1.0,
    base_resolution: int = 224,
) -> Scale:
    """Compute the compound scale at `phi`, from a base network that is given as multiples of B0.

    To scale only one factor, set the others to 1. The resolution is rounded to the nearest multiple of 4 pixels, halves
    up.

    Raises:
        ValueError: a factor or a base that is not above 0.
    """
    given = {
        "alpha": alpha, "beta": beta, "gamma": gamma,
        "base_depth": base_depth, "base_width": base_width, "base_resolution": base_resolution,
    }  # fmt: skip
    wrong = [f"{name}={value}" for name, value in given.items() if not value > 0]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: must be above 0")
    pixels = base_resolution * gamma**phi
    return Scale(
        depth=round(base_depth * alpha**phi, 9),  # repeats are rounded up: 2.0000000000000004 must not add a block
        width=base_width * beta**phi,
        resolution=max(STEP, STEP * int(pixels / STEP + 0.5)),
    )


default_cfgs = generate_default_cfgs(
    {
        "efficientnet_scaled": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": (0.485, 0.456, 0.406),  # ImageNet's training images
            "std": (0.229, 0.224, 0.225),
            "first_conv": "conv_stem",
            "classifier": "classifier",
        }
    }
)


@register_model
def efficientnet_scaled(
    pretrained: bool = False,
    phi: float = 0.0,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    base_depth: float = 1.0,
    base_width: float = 1.0,
    base_resolution: int = 224,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **kwargs: Any,
) -> EfficientNet:
    """EfficientNet at the compound scale of these arguments (see `compute_scale`); phi = 0 is B0, 5.3 M parameters.

    The resolution is the `input_size` of the network's `pretrained_cfg`. Other arguments are timm's, such as
    `drop_rate`, `drop_path_rate` and `channel_divisor` (8; with a smaller one narrow networks scale more evenly).
    """
    scale = compute_scale(
        phi, alpha, beta, gamma, base_depth=base_depth, base_width=base_width, base_resolution=base_resolution
    )
    side, pooled = scale.resolution, -(-scale.resolution // 32)  # five strides of 2, each rounding up
    expected = {"input_size": (3, side, side), "pool_size": (pooled, pooled)}
    return build_efficientnet(
        "efficientnet_scaled",
        depth=scale.depth,
        width=scale.width,
        pretrained=pretrained,
        pretrained_cfg_overlay=expected | (pretrained_cfg_overlay or {}),
        **kwargs,
    )
