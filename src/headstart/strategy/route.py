"""How a phase goes about its work: computed from its rates and its input, never configured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from headstart.config import instantiate
from headstart.config.schema import RunConfig, StrategyConfig, is_random, mixes
from headstart.errors import UserError
from headstart.features.extractor import Extractor
from headstart.models import split
from headstart.models.stages import Stages

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.strategy.plan import Phase


class Exact(nn.Module):
    """A fitted head as it was chosen: without autocast, which would round its products."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.head(x.float()))


@dataclass
class Way:
    """Whether a phase learns on images or on features of its frozen prefix, and why."""

    kind: str  # 'probe', 'features' (gradient steps on cached features) or 'images' (gradient steps on images)
    cut: split.NetworkSplit | None
    why: str = ""
    views: int = 0  # augmented views of each training image whose features are cached; 0: the image as it is
    extractor: Extractor | None = None
    probe: Any = None
    parts: dict[str, slice] | None = None  # columns of the features that a probe chooses among
    head: nn.Module | None = None  # a fitted head that is kept beside the network

    @property
    def smooths(self) -> bool:
        """Whether the phase's probe takes smoothed labels."""
        return bool(getattr(self.probe, "smooths", False))

    def extract(self, context: "Context") -> Extractor:
        """The frozen prefix over this run's cache; made once, when the weights are those that the phase starts from."""
        assert self.cut is not None
        if self.extractor is None:
            self.extractor = Extractor(
                self.cut,
                context.preprocess(),
                context.features_identity,
                context.config.hardware,
                context.config.cache,
                context.config.features,
            )
        return self.extractor

    def live(self) -> "Way":
        """The same network on images that the run has not seen before: none of their features is kept."""
        whole = None
        if self.probe is not None and self.cut is not None:
            head = self.cut.rest if self.head is None else self.head
            whole = nn.Sequential(split.fold_batch_norms(self.cut.prefix), Exact(head))
        return Way("images", None, "images that the run has not seen before", head=whole)

    def training_features(self, context: "Context", phase: "Phase") -> tuple[Tensor, Tensor]:
        """Features and labels of what the phase trains on: a row an image, or a row for each of its views."""
        from headstart.features.views import features_of_views

        extract, train = self.extract(context), context.data.train
        if not self.views:
            return extract(train, "train"), train.labels
        assert self.cut is not None
        features = features_of_views(context, phase, self.cut, self.views, context.config.cache, extract.costs)
        return features.flatten(0, 1), train.labels.repeat_interleave(self.views)


def way(model: Any, phase: "Phase", config: RunConfig, image_size: int) -> Way:
    """Whether the frozen prefix of a phase can run once per image, and where it ends.

    Args:
        model: the network on its device; whether its weights are the right ones does not matter.

    Raises:
        UserError: a probe is asked for, but the network cannot be cut at its head; or views, but there is no prefix.
    """
    probe, augmented = phase.config.probe is not None, phase.config.augment is not False
    if not probe and not phase.config.cache:
        return Way("images", None, "cache=false")
    if not probe and augmented and phase.config.views is None:
        if is_random(config.augment):
            return Way("images", None, "images are augmented anew each epoch")
        if mixes(config.augment):
            return Way("images", None, "images are mixed anew each epoch")
    device = next(model.parameters()).device
    example = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    cut, views = split.split_network(model, phase.trainable, example), phase.config.views or 0
    if probe:
        return _probe_way(model, phase, cut, example, views)
    if cut is not None:
        return Way("features", cut, views=views)
    if views:
        key = f"strategy.phases.{phase.name}.views"
        raise UserError(f"{key}={views}: no frozen prefix whose output could be cached; leave views out")
    return Way("images", None, "no frozen prefix that can be cut off")


def check_probes(model: nn.Module, plan: StrategyConfig) -> None:
    """Raises UserError where a probe asks for stages that the network does not offer; needs no weights."""
    for phase in plan.phases.values():
        if phase.probe is not None:
            probe = instantiate.build(phase.probe)
            if getattr(probe, "beside", False) and probe.layers != (-1,):
                Stages(model, probe.layers, probe.poolings)


def _width(head: Any) -> int | None:
    """How many features a head reads that is one layer with a bias; None of any other."""
    if getattr(head, "weight", None) is None or getattr(head, "bias", None) is None:
        return None
    return int(head.weight[0].numel())


def _probe_way(model: Any, phase: "Phase", cut: split.NetworkSplit | None, example: Tensor, views: int) -> Way:
    """The features that a probe is fitted on: what the network's head reads, or several stages pooled."""
    assert phase.config.probe is not None
    probe = instantiate.build(phase.config.probe)
    layers = tuple(getattr(probe, "layers", (-1,)))
    if layers != (-1,):
        stages = Stages(model, layers, probe.poolings)
        parts = stages.columns(example)
        cut = split.NetworkSplit(stages, model.get_classifier(), ", ".join(stages.names), True)
        return Way("probe", cut, views=views, probe=probe, parts=parts)
    with torch.no_grad():
        found = None if cut is None else cut.prefix.eval()(example).flatten(1).shape[1]
    if cut is None or found != _width(model.get_classifier()):
        key = f"strategy.phases.{phase.name}"
        raise UserError(
            f"{key}.probe: {type(model).__name__} cannot be cut at a head of one layer; train it by gradient: "
            f"{key}.probe=null {key}.epochs=10"
        )
    return Way("probe", cut, views=views, probe=probe)
