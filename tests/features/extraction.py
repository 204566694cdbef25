"""An extractor of the frozen half of a network, over a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from headstart.config.schema import FeaturesConfig, HardwareConfig, PhaseConfig
from headstart.data.augment import Preprocess
from headstart.features.extractor import Extractor
from headstart.models import split
from headstart.strategy import plan

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
) -> tuple[Extractor, split.NetworkSplit]:
    """The frozen prefix under the rules, over a cache."""
    rules = rules or {"head": 1, "backbone": None}
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0]
    found = split.split_network(model, phase.trainable, torch.randn(2, 3, SIZE, SIZE))
    assert found is not None
    known = transform or {"image_size": SIZE, "mean": MEAN, "std": STD}
    return Extractor(found, Preprocess(SIZE, MEAN, STD), known, config, cache, kept), found
