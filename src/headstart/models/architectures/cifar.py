"""Plain and residual networks for 32×32 images: 6n + 2 layers of basic blocks, 9n + 2 of bottlenecks (He et al. 2015,
section 4.2; He et al. 2016).

A 3×3 stem, three stages at full, half and quarter resolution, global average pooling, a linear head. Images may have
any size. The network of `shake_shake` has the same frame.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from timm.layers import SelectAdaptivePool2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from headstart.models.architectures import residual
from headstart.models.architectures.residual import Design
from headstart.models.architectures.stochastic_depth import Survival

WIDTHS = (16, 32, 64)
STRIDES = (1, 2, 2)
Block = Callable[[int, int, int, int], nn.Module]  # index from 0, width in, width out, stride


class CifarNet(nn.Module):
    """Stem, three stages of blocks, an activation, and a linear head, with timm's interface."""

    def __init__(
        self,
        stem: nn.Module,
        stages: nn.Sequential,
        final: nn.Module,
        widths: tuple[int, ...],
        *,
        num_classes: int,
        drop_rate: float,
        global_pool: str,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features, self.drop_rate = num_classes, widths[-1], drop_rate
        self.head_hidden_size = self.num_features
        self.stem, self.stages, self.final = stem, stages, final
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = self._make_head()
        self.feature_info = [
            {"num_chs": width, "reduction": 2**index, "module": f"stages.{index}"} for index, width in enumerate(widths)
        ]
        residual.initialise(self)

    def _make_head(self) -> nn.Module:
        if not self.num_classes:
            return nn.Identity()
        head = nn.Linear(self.num_features, self.num_classes)
        nn.init.zeros_(head.bias)
        return head

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Stem, then stages (coarse) or blocks; a final batch norm belongs to the last one."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": [(blocks, None), (r"^final", (99999,))]}

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Make a new head with this number of outputs; 0 for no head."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.head = self._make_head().to(next(self.parameters()).device)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [n, c, h, w] into maps [n, num_features, h/4, w/4], rounded up."""
        return self.final(self.stages(self.stem(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Turn maps [n, num_features, h, w] into logits [n, num_classes], or into features [n, num_features]."""
        x = self.global_pool(x)
        return x if pre_logits else self.head(self.head_drop(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def make_stages(block: Block, width_in: int, widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    """Make stages of `blocks` blocks each; the first block of the second and third stage halves the resolution."""
    made, index = [], 0
    for width, stride in zip(widths, STRIDES, strict=True):
        stage = []
        for position in range(blocks):
            stage.append(block(index, width_in, width, stride if position == 0 else 1))
            width_in, index = width, index + 1
        made.append(nn.Sequential(*stage))
    return nn.Sequential(*made)


def make_stem(in_chans: int, width: int, letters: str = "NR") -> nn.Sequential:
    """Make a 3×3 convolution with the batch norm and ReLU that `letters` name (see `residual.activation`)."""
    layers = nn.Sequential()
    layers.add_module("conv", residual.conv(in_chans, width, 3))
    layers.add_module("act", residual.activation(letters, width))
    return layers


def residual_net(
    depth: int,
    bottleneck: bool = False,
    *,
    order: str = "original",
    shortcut: str = "A",
    width: float = 1.0,
    survival: float = 1.0,
    survival_decay: str = "linear",
    survival_mode: str = "batch",
    survival_rule: str = "paper",
    num_classes: int = 10,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    global_pool: str = "avg",
) -> CifarNet:
    """Make a network of `depth` layers with weights.

    Args:
        order, shortcut: see `residual.Design`.
        width: multiplies the channels 16, 32, 64 of the stages.
        survival, survival_decay, survival_mode, survival_rule: stochastic depth, see `stochastic_depth.Survival`.
        drop_rate: dropout before the head.
    """
    design = Design(order, shortcut, bottleneck)
    surviving = Survival(survival, survival_decay, survival_mode, survival_rule)
    if shortcut == "none" and survival < 1:
        raise ValueError(f"survival={survival}: a plain network has no shortcut around a dropped block; use survival=1")
    if width <= 0:
        raise ValueError(f"width={width}: a number above 0")
    layers = 3 if bottleneck else 2
    if (depth - 2) % (3 * layers):
        raise ValueError(f"bottleneck={str(bottleneck).lower()}: depth {depth} is not {3 * layers}n + 2")
    n = (depth - 2) // (3 * layers)
    base, *_ = inner = tuple(max(1, round(width * channels)) for channels in WIDTHS)
    widths = tuple(channels * residual.EXPANSION for channels in inner) if bottleneck else inner

    def block(index: int, width_in: int, out: int, stride: int) -> nn.Module:
        return _block(design, surviving, (index, 3 * n), (width_in, out, stride))

    return CifarNet(
        make_stem(in_chans, base),
        make_stages(block, base, widths, n),
        # not in place: the features of the last stage must not change
        residual.activation(design.rule.first, widths[-1], inplace=False),
        widths,
        num_classes=num_classes,
        drop_rate=drop_rate,
        global_pool=global_pool,
    )


def _block(design: Design, survival: Survival, place: tuple[int, int], shape: tuple[int, int, int]) -> nn.Module:
    """Make block `place` = (index, number of blocks) of `shape` = (width in, width out, stride)."""
    width_in, width, _ = shape
    activated = place[0] == 0  # the stem's activation serves the first block
    first = "" if activated else design.rule.first
    shared = residual.shares_activation(design, *shape, activated)
    branch = residual.branch(design, *shape, "" if shared else first)
    after = residual.activation(design.rule.added, width)
    if design.shortcut == "none":
        return nn.Sequential(branch, after)
    pre = residual.activation(first if shared else "", width_in, inplace=False)
    return residual.Residual(
        pre, survival.wrap(branch, place[0] + 1, place[1]), residual.shortcut(design, *shape), after
    )


def pretrained_cfg() -> Any:
    """32×32 CIFAR images without a crop, normalised by CIFAR-10's training pixels; there are no published weights."""
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "fixed_input_size": False,
        "pool_size": (8, 8),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2470, 0.2435, 0.2616),
        "first_conv": "stem.conv",
        "classifier": "head",
    }


def create(factory: Callable[..., CifarNet], variant: str, pretrained: bool, **kwargs: Any) -> CifarNet:
    """Build a network by timm's builder, which fills in the configuration and loads the weights that it gets."""
    features = {"flatten_sequential": True, "out_indices": (0, 1, 2)}
    return build_model_with_cfg(factory, variant, pretrained, feature_cfg=features, **kwargs)


RESIDUAL = (20, 32, 44, 56, 110, 164)
PLAIN = (20, 32, 44, 56, 110)

default_cfgs = generate_default_cfgs(
    {f"resnet{depth}_cifar": pretrained_cfg() for depth in RESIDUAL}
    | {f"plain{depth}_cifar": pretrained_cfg() for depth in PLAIN}
)


def _register(name: str, factory: Callable[..., CifarNet], **fixed: Any) -> None:
    """Register `factory` as `timm.create_model(name)`; callers cannot change the `fixed` arguments."""

    def entry(pretrained: bool = False, **kwargs: Any) -> CifarNet:
        return create(factory, name, pretrained, **fixed, **kwargs)

    entry.__name__ = name
    register_model(entry)


for _depth in RESIDUAL:
    # the network of 164 layers is from the second paper, whose code uses projections
    _options: Any = {"bottleneck": True, "shortcut": "B"} if _depth == 164 else {}
    _register(f"resnet{_depth}_cifar", partial(residual_net, _depth, **_options))
for _depth in PLAIN:
    _register(f"plain{_depth}_cifar", partial(residual_net, _depth), shortcut="none")
