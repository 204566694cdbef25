"""Multinomial logistic regression on pixels, the simplest baseline (LeCun et al. 1998, section III.C.1)."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

SIDE = 32


class Linear(nn.Module):
    """One matrix from pixels [n, c, 32, 32] to logits [n, classes]; other sizes are averaged or repeated to 32.

    The whole network is its head, and its features are the pixels: no other part can learn or be frozen.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features = self.head_hidden_size = in_chans * SIDE * SIDE
        self.pool = nn.AdaptiveAvgPool2d(SIDE)
        self.flatten = nn.Flatten(1)
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.feature_info = [{"num_chs": in_chans, "reduction": 1, "module": "pool"}]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """There is no group except the head."""
        return {"stem": "^pool", "blocks": []}

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(x)
        return pooled

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        flat: Tensor = self.drop(self.flatten(x))
        return flat if pre_logits else self.fc(flat)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "linear": {
            "num_classes": 1000,
            "input_size": (3, SIDE, SIDE),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "classifier": "fc",
            "first_conv": None,
        }
    }
)


@register_model
def linear(pretrained: bool = False, **options: Any) -> Linear:
    """A softmax over a linear function of 32 x 32 pixels: 30,730 parameters for ten classes."""
    return build_model_with_cfg(Linear, "linear", pretrained, **options)
