"""An extractor of the frozen half of a network, over a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from headstart import strategy
from headstart.config import FeaturesConfig, HardwareConfig, PhaseConfig
from headstart.data.augment import Preprocess
from headstart.features import Extractor
from headstart.models import cut

CPU = HardwareConfig(accelerator="cpu", precision="32")
MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 64


def extractor(
    model: torch.nn.Module,
    cache: Path | None,
    rules: dict[str, Any] | None = None,
    config: HardwareConfig = CPU,
    transform: dict[str, Any] | None = None,
    kept: FeaturesConfig | None = None,
) -> tuple[Extractor, cut.Cut]:
    """The frozen prefix under the rules, over a cache."""
    rules = rules or {"head": 1, "backbone": None}
    phase = strategy.plan(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0]
    found = cut.find(model, phase.trainable, torch.randn(2, 3, SIZE, SIZE))
    assert found is not None
    known = transform or {"image_size": SIZE, "mean": MEAN, "std": STD}
    return Extractor(found, Preprocess(SIZE, MEAN, STD), known, config, cache, kept), found
