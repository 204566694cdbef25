"""The objects that every phase of a run uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headstart.data.augment import Preprocess
from headstart.data.dataset import Data
from headstart.models import factory, weights
from headstart.runtime import hardware, shared

if TYPE_CHECKING:
    from headstart.config.schema import ModelConfig, RunConfig
    from headstart.measures.measure import Measure
    from headstart.models.input import Input
    from headstart.storage.runs import Run
    from headstart.tracking.logger import RunLog


@dataclass(frozen=True, kw_only=True)
class Context:
    """The config of a run, and what has been built from it: data, network, device, logger."""

    config: RunConfig
    run: Run
    run_log: RunLog
    data: Data
    model: Any  # a timm network
    input: Input
    device: torch.device
    digests: Mapping[str, str | None]  # of the content of the data and of the weights, for `result.json`
    duplicates: Mapping[str, list[tuple[str, str]]]  # as `headstart.data.checks.find_duplicates` finds them
    measures: list[Measure] = field(default_factory=list)
    pretrained: dict[str, torch.Tensor] = field(default_factory=dict)  # the backbone's first weights, for a penalty

    def preprocess(self, augment: Any = None) -> Preprocess:
        """The module that turns uint8 images into this network's input, on its device."""
        return Preprocess(self.data.image_size, self.input.mean, self.input.std, augment).to(self.device)

    @property
    def features_identity(self) -> dict[str, Any]:
        """What features depend on, apart from the pixels and the weights of the frozen layers."""
        return identify_features(self.config.model, self.data, self.input, self.digests)

    def best_weights(self, phase: str) -> Path:
        """The file for the weights that a phase passes on to the next one."""
        return self.run.checkpoints / phase / weights.BEST

    @property
    def probe_head(self) -> Path:
        """The file for a probe's head that is no layer of the network."""
        return self.run.folder / weights.PROBE


def identify_features(model: ModelConfig, data: Data, spec: Input, digests: Mapping[str, str | None]) -> dict[str, Any]:
    """What features depend on, apart from the pixels and the weights of the frozen layers: a part of the cache's key.

    Args:
        digests: of all of these only that of one's own code, `code`, is used.
    """
    deep = {} if data.pixel_range is None else {"pixel_range": data.pixel_range}
    return (
        deep
        | {
            "model": model.name,
            "args": model.args,
            "image_size": data.image_size,
            "stored_size": data.stored_size,
            "interpolation": data.interpolation,
            "resize": data.resize,
            "mean": spec.mean,
            "std": spec.std,
            "pixels": data.libraries,
        }
        | {name: digest for name, digest in digests.items() if name == "code"}
    )


def create_model(
    config: RunConfig, data: Data, device: torch.device, digests: Mapping[str, str | None]
) -> tuple[Any, list[str]]:
    """Create the network for the data's classes on the device; the new head's weights depend on the run's seed.

    Jobs in which nothing learns but a head that a probe fits share one network: they do not use the weights that its
    head has at first.

    Args:
        digests: of the weights and of one's own code: a network with others is another one.

    Returns:
        Also what is to be said of its weights and of the images.
    """
    pretrained = config.strategy.start == "pretrained"

    def create() -> tuple[Any, list[str]]:
        torch.manual_seed(config.seed)
        model, notes = factory.create(config.model, data.classes, pretrained=pretrained)
        return model.to(device).to(memory_format=hardware.memory_format(config.hardware)), notes

    if pretrained and all(phase.probe is not None for phase in config.strategy.phases.values()):
        content = [digests.get(name) for name in ("weights", "code")]
        kept = (config.model, content, data.classes, device, config.hardware.memory_format)
        model, notes = shared.share("network", repr(kept), create)
        shared.let_derive(model)
        torch.manual_seed(config.seed)
    else:
        shared.forget("network")  # a network that learns needs the memory of one that is shared
        model, notes = create()
    return model, [*notes, *data.adaptations]


def copy_pretrained(config: RunConfig, model: Any) -> dict[str, torch.Tensor]:
    """Copy the backbone's weights before the first phase, if a phase has a penalty that compares with them."""
    if all(phase.penalty is None for phase in config.strategy.phases.values()):
        return {}
    head = {id(parameter) for parameter in model.get_classifier().parameters()}
    return {name: value.detach().clone() for name, value in model.named_parameters() if id(value) not in head}
