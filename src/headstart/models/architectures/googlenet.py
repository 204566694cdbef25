"""GoogLeNet: nine Inception modules (Szegedy et al. 2015, Going Deeper with Convolutions, Table 1).

There are two forms. `kernel=5` is the paper's: biases, and responses normalised before and after conv2 (Figure 3; with
AlexNet's window and exponent, because the paper gives none). `kernel=3` is torchvision's: 3x3 where the paper has 5x5,
batch norms (the paper has none), and 2x2 in the last pooling; torchvision's published weights fit it. torchvision's
`transform_input` is included in the expected mean and standard deviation.

The two auxiliary classifiers train with the modules whose output they get (4a, 4d: depth 7 and 4), and are frozen with
them; they count as parameters but cost nothing outside training. `aux=false` leaves them out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
from timm.layers import SelectAdaptivePool2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from headstart.models.architectures.auxiliary import Auxiliary
from headstart.models.architectures.inception import BRANCHES, Columns, Inception, Unit, choose_branches, scale_channels

TABLE = {
    "3a": Columns(64, 96, 128, 16, 32, 32),
    "3b": Columns(128, 128, 192, 32, 96, 64),
    "4a": Columns(192, 96, 208, 16, 48, 64),
    "4b": Columns(160, 112, 224, 24, 64, 64),
    "4c": Columns(128, 128, 256, 24, 64, 64),
    "4d": Columns(112, 144, 288, 32, 64, 64),
    "4e": Columns(256, 160, 320, 32, 128, 128),
    "5a": Columns(256, 160, 320, 32, 128, 128),
    "5b": Columns(384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": "aux1", "4d": "aux2"}  # the module whose output each auxiliary classifier gets

# torchvision's names, and ours
PUBLISHED = (
    (re.compile(r"^conv2\.(conv|bn)\."), r"conv2.0.\1."),
    (re.compile(r"^conv3\."), r"conv2.1."),
    (re.compile(r"\.branch1\."), r".branches.1x1.0."),
    (re.compile(r"\.branch2\."), r".branches.3x3."),
    (re.compile(r"\.branch3\."), r".branches.5x5."),
    (re.compile(r"\.branch4\."), r".branches.pool."),
)


class GoogLeNet(nn.Module):
    """Table 1 from top to bottom; for images of 32 pixels and more.

    Args:
        kernel: 5 or 3, in the third branch of each module.
        norm: whether there are batch norms; None: if `kernel` is 3.
        branches: of each module, some of `1x1,3x3,5x5,pool`.
        aux: whether there are auxiliary classifiers.
        width: multiplies the channels of every layer except the classifiers.
    """

    def __init__(
        self,
        kernel: int = 5,
        norm: bool | None = None,
        branches: str | Iterable[str] = BRANCHES,
        aux: bool = True,
        width: float = 1.0,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.4,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        if kernel not in (3, 5):
            raise ValueError(f"kernel={kernel}: it is 5, as in the paper, or 3, as in torchvision")
        norm = kernel == 3 if norm is None else norm
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.feature_info: list[dict[str, Any]] = []

        c1, c2 = scale_channels(64, width), scale_channels(192, width)
        self.conv1 = Unit(in_chans, c1, 7, stride=2, norm=norm)
        self.pool1 = _halve()
        self.norm1 = nn.Identity() if norm else nn.LocalResponseNorm(5)
        self.conv2 = nn.Sequential(Unit(c1, c1, 1, norm=norm), Unit(c1, c2, 3, norm=norm))
        self.norm2 = nn.Identity() if norm else nn.LocalResponseNorm(5)
        self.pool2 = _halve()
        self._add_stage(c1, 2, "conv1")
        self._add_stage(c2, 4, "conv2")

        channels = c2
        for name, columns in TABLE.items():
            module = Inception(channels, columns.widen(width), kernel, branches, norm)
            self.add_module(f"inception{name}", module)
            channels = module.outputs
            if name in AUXILIARY:
                side = Auxiliary(channels, num_classes, scale_channels(128, width), scale_channels(1024, width), norm)
                self.add_module(AUXILIARY[name], side if aux else nn.Identity())
            if name in ("3b", "4e", "5b"):
                self._add_stage(channels, {"3": 8, "4": 16, "5": 32}[name[0]], f"inception{name}")
            if name in ("3b", "4e"):
                self.add_module(f"pool{name[0]}", _halve(2 if name == "4e" and kernel == 3 else 3))
        self.order = tuple(name for name, _ in self.named_children())
        self.num_features = self.head_hidden_size = channels
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def _add_stage(self, channels: int, reduction: int, module: str) -> None:
        self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": module})

    @property
    def auxiliaries(self) -> list[Auxiliary]:
        """The auxiliary classifiers of this network."""
        return [part for part in self.children() if isinstance(part, Auxiliary)]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """The stem, conv2, the nine modules and the head; an auxiliary classifier belongs to the module before it."""
        blocks = [(r"^conv2\.", (0,))]
        for index, name in enumerate(TABLE, 1):
            blocks.append((rf"^(?:inception{name}|{AUXILIARY.get(name, 'no auxiliary')})\.", (index,)))
        return {"stem": r"^conv1\.", "blocks": [*blocks, (r"^fc\.", (len(TABLE) + 1,))]}

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Make new last layers, including those of the auxiliary classifiers."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        for side in self.auxiliaries:
            side.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, c, 224, 224] into module 5b's maps [n, 1024, 7, 7]."""
        for layer in self.order:
            x = getattr(self, layer)(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits; in training the auxiliary classifiers store theirs for `Auxiliary.auxiliary_loss`."""
        return self.forward_head(self.forward_features(x))

    def published_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of torchvision's file to this network's names, and drop classifiers that it has not."""
        renamed = {}
        for name, tensor in state.items():
            if name.startswith("aux") and not self.auxiliaries:
                continue
            for pattern, own in PUBLISHED:
                name = pattern.sub(own, name)
            renamed[name] = tensor
        return renamed


def _halve(kernel: int = 3) -> nn.MaxPool2d:
    """Make a pooling that halves the size, rounded up: Table 1's 112, 56, 28, 14, 7."""
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: GoogLeNet) -> dict[str, Tensor]:
    """Called by timm with a checkpoint before all of its tensors are loaded.

    If the number of classes differs, timm does not load the head; here the last layers of the auxiliary classifiers are
    not loaded either.
    """
    own, state = model.state_dict(), model.published_names(state)
    last = [f"{side}.fc2.{part}" for side in AUXILIARY.values() for part in ("weight", "bias")]
    return state | {name: own[name] for name in last if name in state and state[name].shape != own[name].shape}


def _cfg(**options: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv1.conv",
        "classifier": "fc",
    } | options


default_cfgs = generate_default_cfgs(
    {
        "googlenet.untrained": _cfg(),
        "googlenet.tv_in1k": _cfg(
            url="https://download.pytorch.org/models/googlenet-1378be20.pth",
            mean=IMAGENET_INCEPTION_MEAN,
            std=IMAGENET_INCEPTION_STD,
        ),
    }
)


@register_model
def googlenet(pretrained: bool = False, **kwargs: Any) -> GoogLeNet:
    """GoogLeNet with 6,998,552 parameters (6,624,904 with `kernel=3`), auxiliary classifiers not counted."""
    whole = choose_branches(kwargs.get("branches", BRANCHES)) == BRANCHES and kwargs.get("width", 1) == 1
    published = kwargs.get("kernel", 5) == 3 and kwargs.get("norm", True) and whole
    if kwargs.get("pretrained_cfg") is None:
        kwargs["pretrained_cfg"] = "tv_in1k" if published else "untrained"
    return build_model_with_cfg(GoogLeNet, "googlenet", pretrained, pretrained_filter_fn=checkpoint_filter_fn, **kwargs)
