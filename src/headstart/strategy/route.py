"""The routes from images to logits that a phase can take; the route follows from its rates and its input.

Each route is a class with the interface of `Route`; it is complete when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from headstart.config.instantiate import build
from headstart.config.schema import AugmentConfig, PhaseConfig, is_random, mixes
from headstart.errors import UserError
from headstart.models.fold import fold_batch_norms
from headstart.models.split import NetworkSplit, split_network
from headstart.models.stages import Stages
from headstart.runtime.shared import derive

if TYPE_CHECKING:
    from headstart.strategy.plan import Phase


class WithoutAutocast(nn.Module):
    """Runs a fitted head without autocast, which would round its products."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.head(x.float()))


class Route(Protocol):
    """A phase's input for training (images or features), and the networks that compute logits afterwards."""

    name: ClassVar[str]  # in `result.json` and `state.json`

    @property
    def split(self) -> NetworkSplit | None:
        """The two halves of the network if the features of the first one are cached; None: it works on images."""
        ...

    @property
    def views(self) -> int:
        """How many augmented views of each training image are cached; 0: the image without augmentation."""
        ...

    def describe(self) -> str:
        """Describe up to which layer features are cached, or why they are not."""
        ...

    def make_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        """Make the network that turns the phase's input (features [n, ...] or images [n, 3, s, s]) into logits.

        Args:
            own_head: a fitted head that is no layer of the network; None if there is none.
        """
        ...

    def make_image_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        """Make the network that turns images, whose features are not cached, into logits."""
        ...


@dataclass(frozen=True)
class LiveImages:
    """Gradient steps on images; `why` is the reason that features are not cached."""

    why: str
    name: ClassVar[str] = "images"
    split: NetworkSplit | None = None
    views: int = 0

    def describe(self) -> str:
        return f"not cached: {self.why}"

    def make_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        return fold_batch_norms(model.eval())

    make_image_classifier = make_classifier


@dataclass(frozen=True)
class CachedFeatures:
    """Gradient steps on the cached features of the frozen prefix."""

    split: NetworkSplit
    views: int = 0
    name: ClassVar[str] = "features"

    def describe(self) -> str:
        return f"cached up to {self.split.at}" + (f", {self.views} views" if self.views else "")

    def make_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        return self.split.rest

    def make_image_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        return fold_batch_norms(model.eval())


@dataclass(frozen=True)
class FittedHead:
    """A head that a probe fits on the cached features of the frozen backbone."""

    split: NetworkSplit
    probe: Any
    views: int = 0
    columns: Mapping[str, slice] | None = None  # sets of features, by name, among which the probe chooses
    name: ClassVar[str] = "probe"

    @property
    def takes_smoothing(self) -> bool:
        """Whether the probe fits smoothed labels."""
        return bool(getattr(self.probe, "smooths", False))

    @property
    def is_refitted(self) -> bool:
        """Whether the chosen head is fitted once more, including the validation images."""
        return bool(getattr(self.probe, "refit", False))

    def describe(self) -> str:
        return f"cached up to {self.split.at}" + (f", {self.views} views" if self.views else "")

    def make_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        return WithoutAutocast(self.split.rest if own_head is None else own_head)

    def make_image_classifier(self, model: nn.Module, own_head: nn.Module | None) -> nn.Module:
        return nn.Sequential(fold_batch_norms(self.split.prefix), self.make_classifier(model, own_head))


def choose_route(model: Any, phase: Phase, augment: AugmentConfig, image_size: int) -> Route:
    """Choose the route of a phase: whether features of frozen layers can be cached, and up to which layer.

    Args:
        model: the network on its device; its weights do not matter.

    Raises:
        UserError: a probe is configured, but the network cannot be split at its head; or views are configured, but no
            layers are frozen.
    """
    is_fitted, views = phase.config.probe is not None, phase.config.views or 0
    if not is_fitted and not phase.config.cache:
        return LiveImages("cache=false")
    if not is_fitted and phase.config.augment is not False and phase.config.views is None:
        if is_random(augment):
            return LiveImages("images are augmented again in each epoch")
        if mixes(augment):
            return LiveImages("images are mixed again in each epoch")
    device = next(model.parameters()).device
    example = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    if is_fitted:  # in eval mode
        split = derive(
            model,
            "split",
            (phase.trainable, image_size),
            lambda: split_network(model, phase.trainable, example, training=False),
        )
        return _make_probe_route(model, phase, split, example, views)
    split = split_network(model, phase.trainable, example)
    if split is not None:
        return CachedFeatures(split, views)
    why = "no frozen layers that can be split off"
    if split_network(model, phase.trainable, example, training=False) is not None:
        why += f" without the dropout of {type(model).__name__} in training"
    if views:
        key = f"strategy.phases.{phase.name}.views"
        raise UserError(f"{key}={views}: nothing could be cached ({why}); leave views out")
    return LiveImages(why)


def check_probes(model: nn.Module, phases: Mapping[str, PhaseConfig]) -> None:
    """Raise UserError if a probe needs stages that the network does not have; the weights do not matter."""
    for phase in phases.values():
        if phase.probe is not None:
            probe = build("probe", phase.probe)
            if getattr(probe, "is_separate", False) and probe.layers != (-1,):
                Stages(model, probe.layers, probe.poolings)


def _head_width(head: Any) -> int | None:
    """How many features a head reads, if it is one layer with a bias; None for any other head."""
    if getattr(head, "weight", None) is None or getattr(head, "bias", None) is None:
        return None
    return int(head.weight[0].numel())


@torch.no_grad()
def _find_width(model: Any, split: NetworkSplit, example: Tensor) -> int:
    """How many features the network's head gets for an image."""
    key = (split.at, example.shape)
    return int(derive(model, "width", key, lambda: split.prefix.eval()(example).flatten(1).shape[1]))


def _make_probe_route(model: Any, phase: Phase, split: NetworkSplit | None, example: Tensor, views: int) -> FittedHead:
    """The route of a probe, which is fitted on the input of the network's head or on several pooled stages."""
    assert phase.config.probe is not None
    probe = build("probe", phase.config.probe)
    layers = tuple(getattr(probe, "layers", (-1,)))
    if layers != (-1,):
        stages = Stages(model, layers, probe.poolings)
        columns = stages.find_columns(example)
        return FittedHead(NetworkSplit(stages, model.get_classifier(), ", ".join(stages.names)), probe, views, columns)
    width = None if split is None else _find_width(model, split, example)
    if split is None or width != _head_width(model.get_classifier()):
        key = f"strategy.phases.{phase.name}"
        raise UserError(
            f"{key}.probe: {type(model).__name__} cannot be split before a head of one layer; train it by gradient: "
            f"{key}.probe=null {key}.epochs=10"
        )
    return FittedHead(split, probe, views)
