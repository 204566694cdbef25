"""AlexNet: five convolutions and three linear layers (Krizhevsky et al. 2012, ImageNet Classification with Deep CNNs).

There are two forms. The single tower is that of "One weird trick for parallelizing convolutional neural networks"
(Krizhevsky 2014), for which torchvision publishes weights. `grouped=true` is the form of the paper: conv2, conv4 and
conv5 see only the maps on their own GPU (two groups), and responses are normalised after conv1 and conv2 (section 3.3;
torch divides its alpha by the window, so the paper's 1e-4 is 5e-4 there). In both forms conv1 pads by 2, because
otherwise 224 pixels do not give the paper's 55x55. Pooling is 3x3 with stride 2, which overlaps. The hidden linear
layers belong to the backbone.
"""

import re
from collections.abc import Mapping
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

# torchvision's names of the layers that have weights
PUBLISHED = {
    "features.0": "conv1.0",
    "features.3": "conv2.0",
    "features.6": "conv3.0",
    "features.8": "conv4.0",
    "features.10": "conv5.0",
    "classifier.1": "fc6.0",
    "classifier.4": "fc7.0",
    "classifier.6": "fc8",
}


class AlexNet(nn.Module):
    """conv1 to conv5, fc6, fc7 and the classifier fc8, as these layers are usually numbered.

    Maps are averaged to 6x6 before fc6, which changes nothing at 224 pixels; the smaller maps of smaller images, down
    to 63 pixels, are repeated to 6x6.

    Args:
        grouped: the paper's two towers instead of one.
        drop_rate: dropout of the outputs of fc6 and fc7 (section 4.2).
        width: multiplies the channels of every layer except the classifier.
    """

    def __init__(
        self,
        grouped: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.drop_rate = num_classes, drop_rate
        groups = 2 if grouped else 1

        def widen(channels: int) -> int:
            return max(groups, round(channels * width / groups) * groups)

        c1, c2, c3, c4, c5 = map(widen, (96, 256, 384, 384, 256) if grouped else (64, 192, 384, 256, 256))
        hidden = widen(4096)
        self.num_features, self.head_hidden_size = c5, hidden
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": module}
            for channels, reduction, module in ((c1, 4, "conv1"), (c2, 8, "conv2"), (c5, 16, "conv5"))
        ]

        def conv(inner: nn.Conv2d, normalised: bool = False) -> nn.Sequential:
            norm = [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if normalised else []
            return nn.Sequential(inner, nn.ReLU(), *norm)

        self.conv1 = conv(nn.Conv2d(in_chans, c1, 11, stride=4, padding=2), grouped)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = conv(nn.Conv2d(c1, c2, 5, padding=2, groups=groups), grouped)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = conv(nn.Conv2d(c2, c3, 3, padding=1))
        self.conv4 = conv(nn.Conv2d(c3, c4, 3, padding=1, groups=groups))
        self.conv5 = conv(nn.Conv2d(c4, c5, 3, padding=1, groups=groups))
        self.pool5 = nn.MaxPool2d(3, 2)
        self.places = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten())
        self.fc6 = nn.Sequential(nn.Linear(c5 * 36, hidden), nn.ReLU(), nn.Dropout(drop_rate))
        self.fc7 = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU())
        self.head_drop = nn.Dropout(drop_rate)
        self.fc8 = nn.Linear(hidden, num_classes) if num_classes else nn.Identity()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Eight layers, by number, fine and coarse."""
        return {"stem": r"^conv1\.", "blocks": r"^(?:conv|fc)(\d)\."}

    def get_classifier(self) -> nn.Module:
        return self.fc8

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Make a new fc8; the network flattens its maps, so `global_pool` has no effect."""
        self.num_classes = num_classes
        self.fc8 = nn.Linear(self.head_hidden_size, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [n, c, 224, 224] to the last pooled maps [n, 256, 6, 6]."""
        x = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        return self.pool5(self.conv5(self.conv4(self.conv3(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.fc7(self.fc6(self.places(x))))
        return x if pre_logits else self.fc8(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def published_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of torchvision's file to this network's names; other tensors keep their names."""
        pattern = re.compile(r"^(features|classifier)\.\d+")
        return {pattern.sub(lambda m: PUBLISHED.get(m[0], m[0]), name): tensor for name, tensor in state.items()}


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: AlexNet) -> dict[str, Tensor]:
    """Called by timm with a checkpoint before all of its tensors are loaded."""
    return model.published_names(state)


def _cfg(url: str = "") -> dict[str, Any]:
    return {
        "url": url,
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (6, 6),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv1.0",
        "classifier": "fc8",
    }


default_cfgs = generate_default_cfgs(
    {
        "alexnet.tv_in1k": _cfg("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
        "alexnet.untrained": _cfg(),
    }
)


@register_model
def alexnet(pretrained: bool = False, grouped: bool = False, width: float = 1.0, **kwargs: Any) -> AlexNet:
    """AlexNet with 61,100,840 parameters, or 60,965,224 if `grouped`; the first form has published weights."""
    if kwargs.get("pretrained_cfg") is None and (grouped or width != 1):
        kwargs["pretrained_cfg"] = "untrained"
    return build_model_with_cfg(
        AlexNet,
        "alexnet",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        grouped=grouped,
        width=width,
        **kwargs,
    )
