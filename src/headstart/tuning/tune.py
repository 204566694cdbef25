"""`hardware.tune`: memory format, precision and compile, picked by measuring them and the same for a whole study.

What was measured is kept per machine under `cache_dir/tune/`. What was picked is pinned in
`outputs/<study>/.tune.json` by the study's first run with a network; all later runs of the study with that network
take it, whatever their strategy, seed or number of images, and whatever the cache says by then. As it is settled
before a run gets its identity, the same command finds the same run again.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config import machine
from headstart.config.schema import is_random, mixes
from headstart.errors import UserError
from headstart.models import factory
from headstart.storage import locks
from headstart.storage.runs import write_json
from headstart.tuning.records import LOCK, PINS, TimingFile, digest_key, read_pins
from headstart.tuning.timing import Setting, Timing, Trial, TrialSetup, isolate

if TYPE_CHECKING:
    from headstart.config.schema import AugmentConfig, HardwareConfig
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)

TIE = 1.03  # a plainer setting whose step takes this many times the fastest's is taken instead
LAYER = 0.2  # seconds that compiling takes per layer with parameters: EfficientNet-Lite0 has 99 and took 22 s
HALF = 0.5  # of a network's depth: what learns only nearer the head is quick
AT_BEST = 1.5  # by how much compiling may make a step faster: what is hoped for before it is tried


def tune_hardware(
    setup: TrialSetup, asked: str, steps: int, study: Path, cache: Path | None
) -> tuple[HardwareConfig, dict[str, Any]]:
    """The hardware settings of a run with `hardware.tune`, and what is written down of them.

    Args:
        setup: its hardware is resolved (`headstart.runtime.hardware.resolve_hardware`).
        asked: `hardware.precision` before that; one that is not `auto` stays.
        steps: how many the run will train (`live_steps`).
        study: the study's folder, whose pin counts.
        cache: where timings are kept, or None.

    Raises:
        UserError: the study's folder cannot be written, or its pin asks for a compiler that is not here.
        RunFailed: another process has taken the trial over.
    """
    key = digest_key(setup.network | {"precision": asked, "accelerator": setup.hardware.accelerator})
    with locks.hold(study / LOCK, wait=True) as lock:  # the second waits for the first's trial, and takes its pin
        pins = read_pins(study / PINS)
        pin = pins.get(key)
        picked = Setting(**pin["setting"]) if pin else None
        if pin is None or (steps and not pin["steps"]):
            tried = [picked] if picked else candidates(setup.hardware, asked)
            pin = _pick(setup, TimingFile(setup, cache), steps, tried)
            if pin["images_per_second"]:  # else nothing was learned that a study should be held to
                locks.raise_if_lost(study / LOCK, lock.claim)
                write_json(study / PINS, pins | {key: pin})
    picked = Setting(**pin["setting"])
    if picked.compile and not has_compiler(setup.hardware.accelerator):
        raise UserError(
            f"hardware.tune: {study / PINS} says that this study's networks are compiled, but this machine has no "
            "compiler for them: install one (g++ for a CPU, triton for a GPU), or choose another study=..."
        )
    if not steps:  # nothing is compiled, whatever the study's runs on images decide: the run's identity must not change
        picked = replace(picked, compile=False)
    return picked.on(setup.hardware), pin | {"setting": asdict(picked)}


def live_steps(phases: Sequence[Phase], augment: AugmentConfig, images: int, images_per_step: int) -> int:
    """Optimizer steps of a run through most of its network; those on features cached far up are too quick to count."""
    changes = is_random(augment) or mixes(augment)
    epochs = 0
    for phase in phases:
        its = phase.config
        changing = its.augment is not False and changes
        if its.epochs is not None and (not its.cache or phase.reach > HALF or (changing and its.views is None)):
            epochs += its.epochs
    return epochs * math.ceil(images / images_per_step)


def candidates(config: HardwareConfig, asked: str) -> list[Setting]:
    """What is tried before compiling, the plainest first: what the config says, then the other memory format."""
    formats = sorted(machine.MEMORY_FORMATS, key=lambda name: name != config.memory_format)
    precisions = [config.precision]
    if config.allow_bf16 and asked == "auto":
        precisions += ["32", "bf16", *(["16"] if config.accelerator == "gpu" else [])]
    return [Setting(form, precision, config.compile) for precision in dict.fromkeys(precisions) for form in formats]


def choose_setting(times: dict[Setting, Timing]) -> Setting | None:
    """The first setting that is as fast as the fastest, or nearly so; None if none works."""
    working = {setting: timing.seconds for setting, timing in times.items() if timing.seconds is not None}
    fastest = min(working.values(), default=0.0)
    return next((setting for setting, seconds in working.items() if seconds <= TIE * fastest), None)


def has_compiler(accelerator: str) -> bool:
    """Whether torch.compile finds what it works with: triton for a GPU, a C++ compiler for a CPU."""
    if accelerator == "gpu":
        return find_spec("triton") is not None
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))


def is_worth_compiling(steps: int, eager: float, compiled: float, cost: float) -> bool:
    """Whether `steps` steps of `compiled` instead of `eager` seconds save more than the `cost` of compiling."""
    return steps * (eager - compiled) > cost


def _pick(setup: TrialSetup, file: TimingFile, steps: int, eager: list[Setting]) -> dict[str, Any]:
    """Decide between settings, and whether to compile, from what is measured, now or before on this machine."""
    trial: Trial | None = None

    def measure(settings: list[Setting]) -> dict[Setting, Timing]:
        nonlocal trial
        if trial is None:
            log.info("  hardware.tune: a few training steps of each setting are measured")
            trial = Trial(setup)
        return trial.time(settings)

    with isolate(setup.hardware):
        times = file.read()
        if any(setting not in times for setting in eager):  # all anew: what is measured together compares
            times |= measure(eager)
        best = choose_setting({setting: times[setting] for setting in eager}) or eager[0]
        compiled = replace(best, compile=True)
        if compiled not in times and _may_repay(setup, steps, times[best]):
            times |= measure([best, compiled])
    file.write(times)
    usual, quick = times[best], times.get(compiled, Timing())
    if steps and usual.seconds and quick.seconds:
        log.info(
            "  hardware.tune: %d steps of %.3f s compiled, %.3f s not: compiling saves %.0f s and costs %.0f s",
            steps, quick.seconds, usual.seconds, steps * (usual.seconds - quick.seconds), quick.starting,
        )  # fmt: skip
        if is_worth_compiling(steps, usual.seconds, quick.seconds, quick.starting):
            best = compiled
    return _pin(setup.batch_size, best, times, steps)


def _may_repay(setup: TrialSetup, steps: int, usual: Timing) -> bool:
    """Whether compiling is worth a try: what it would save at best, against a guess of what it costs."""
    if not (steps and usual.seconds and has_compiler(setup.hardware.accelerator)):
        return False
    layers = [part for part in factory.outline(setup.model).modules() if list(part.parameters(recurse=False))]
    hoped, guess = usual.seconds / AT_BEST, LAYER * len(layers)
    tried = is_worth_compiling(steps, usual.seconds, hoped, guess)
    log.info(
        "  hardware.tune: compiling is %s: over %d steps it saves %.0f s at best, and takes about %.0f s",
        "tried" if tried else "not tried", steps, steps * (usual.seconds - hoped), guess,
    )  # fmt: skip
    return tried


def _pin(batch_size: int, picked: Setting, times: dict[Setting, Timing], steps: int) -> dict[str, Any]:
    """What is written down of a decision, for the study and for `result.json`."""
    speeds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for setting, timing in times.items():
        if timing.seconds is not None:
            speeds[str(setting)] = round(batch_size / timing.seconds, 2)
        else:
            failed[str(setting)] = timing.failed or ""
            log.info("  hardware.tune: %s is left out: %s", setting, timing.failed)
    return {"setting": asdict(picked), "steps": steps, "images_per_second": speeds, "left_out": failed}


def describe_pin(pin: dict[str, Any]) -> str:
    """A pin in words: what was picked, and the images/s of everything that was measured."""
    table = ", ".join(f"{name} {speed:.1f}" for name, speed in pin["images_per_second"].items())
    setting = Setting(**pin["setting"])
    return f"{setting}, format and precision as pinned for this network in this study  |  training images/s: {table}"
