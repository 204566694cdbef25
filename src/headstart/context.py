"""What every phase of a run works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headstart.data.augment import Preprocess
from headstart.data.dataset import Data
from headstart.models import weights

if TYPE_CHECKING:
    from headstart.config.schema import RunConfig
    from headstart.measures.measure import Measure
    from headstart.models.factory import Input
    from headstart.storage.runs import Run
    from headstart.tracking.logger import RunLog


@dataclass(frozen=True, kw_only=True)
class Context:
    """The config, and what it has been turned into so far."""

    config: RunConfig
    run: Run
    run_log: RunLog
    data: Data
    model: Any  # a timm network
    input: Input
    device: torch.device
    digests: Mapping[str, str | None]  # of the data's and the weights' content, for `result.json`
    duplicates: Mapping[str, list[tuple[str, str]]]  # test images that stand in train or val too, by part
    measures: list[Measure] = field(default_factory=list)
    pretrained: dict[str, torch.Tensor] = field(default_factory=dict)  # of the backbone, where a penalty looks back

    def preprocess(self, augment: Any = None) -> Preprocess:
        """uint8 images to this network's input, on its device."""
        return Preprocess(self.data.image_size, self.input.mean, self.input.std, augment).to(self.device)

    @property
    def features_identity(self) -> dict[str, Any]:
        """What features depend on besides the pixels and the prefix's tensors."""
        return {
            "model": self.config.model.name,
            "args": self.config.model.args,
            "image_size": self.data.image_size,
            "stored_size": self.data.stored_size,
            "interpolation": self.data.interpolation,
            "mean": self.input.mean,
            "std": self.input.std,
        }

    def best_weights(self, phase: str) -> Path:
        """Where a phase leaves the weights that it hands on."""
        return self.run.checkpoints / phase / weights.BEST

    @property
    def probe_head(self) -> Path:
        """Where a probe leaves a head that the network cannot take as its own."""
        return self.run.folder / weights.PROBE
