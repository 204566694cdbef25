"""How long a run will take, before it begins: from a trial of two steps of its network, cached for this machine.

It is a rough figure, for a person who decides whether to wait: probes and checkpoints are left out, layers are taken
to cost the same at every depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.config.schema import is_random, mixes
from headstart.tuning.records import TimingFile
from headstart.tuning.timing import Setting, Trial, TrialSetup, isolate

if TYPE_CHECKING:
    from headstart.config.schema import RunConfig
    from headstart.strategy.plan import Phase

FOLDER = "trial"  # beside the timings of hardware.tune, which are of more rounds
START = 2.0  # seconds for what every run does besides: it builds the network, reads the data, writes its files
PASSES = 3.0  # forward passes that a training step costs: one forward, and two for the gradients


@dataclass(frozen=True)
class Forecast:
    """Seconds that a run takes: for features of frozen layers, which other runs may have cached, and for the rest."""

    features: float
    rest: float


def time_step(config: RunConfig, image_size: int, classes: int) -> float | None:
    """The seconds of a training step of a run; None if its network cannot be tried.

    Args:
        config: with its hardware resolved.
    """
    setup = TrialSetup(
        model=config.model,
        hardware=replace(config.hardware, compile=False),
        optimizer=config.optimizer,
        batch_size=config.data.batch_size,
        image_size=image_size,
        classes=classes,
    )
    setting = Setting(config.hardware.memory_format, config.hardware.precision)
    with isolate(setup.hardware):
        file = TimingFile(setup, config.cache, FOLDER)
        known = file.read().get(setting)
        if known is None:
            known = Trial(setup).time([setting], rounds=1)[setting]
            file.write({setting: known})
    return known.seconds


def forecast(config: RunConfig, phases: Sequence[Phase], sizes: Mapping[str, int], step: float) -> Forecast:
    """Estimate the time of a run from the seconds of one of its training steps on images.

    Args:
        phases: `headstart.strategy.plan.plan_phases` of the run.
        sizes: images of the parts train, val and test.
    """
    batch, processes = config.data.batch_size, config.hardware.processes
    forward = step / batch / PASSES  # seconds an image
    changes = is_random(config.augment) or mixes(config.augment)
    features, rest = 0.0, START
    for phase in phases:
        its = phase.config
        changing = changes and its.augment is not False and its.views is None
        cached = its.probe is not None or (its.cache and not changing and phase.reach < 1)
        if cached:
            features += forward * (max(1, its.views or 0) * sizes["train"] + sizes["val"])
        backward = (PASSES - 1) * phase.reach  # where layers learn; the frozen ones are passed forward only
        passes = (phase.reach if cached else 1.0) + backward
        epochs = its.epochs or 0
        steps = math.ceil(sizes["train"] * max(1, its.views or 0) / (batch * processes))
        rest += epochs * (steps * batch * passes + sizes["val"] * (0 if cached else 1)) * forward
    last = forward * sizes["test"]
    if cached:
        return Forecast((features + last) / processes, rest)
    return Forecast(features / processes, rest + last)
