"""Settings that are timed, and a run that asks for it."""

from __future__ import annotations

from pathlib import Path

from conftest import SMALL, compose
from headstart.config.schema import RunConfig
from headstart.runtime import hardware
from headstart.tuning.timing import Setting, TrialSetup

LAST, PLAIN = Setting("channels_last", "32"), Setting("contiguous", "32")
BF16 = Setting("channels_last", "bf16")
LIVE = ("model=timm", "model.name=test_resnet", "strategy=scratch", "data.batch_size=16", "hardware.tune=true")


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    """A run of a few live steps that asks for tuning, its hardware settled."""
    composed = compose(*SMALL, *LIVE, f"output_dir={tmp_path / 'outputs'}", *overrides)
    composed.hardware = hardware.resolve_hardware(composed.hardware)
    return composed


def setup_of(config: RunConfig) -> TrialSetup:
    """A trial of the run, for data of ten classes at 32 px."""
    return TrialSetup(config.model, config.hardware, config.optimizer, config.data.batch_size, 32, 10)
