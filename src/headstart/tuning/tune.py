"""`hardware.tune`: choose memory format, precision and compile by measuring them, once for a whole study.

Timings are stored per machine in `cache_dir/tune/`. The first run of a study with a network writes the chosen settings
to `outputs/<study>/.tune.json` (a pin). All later runs of the study with that network use them, with any strategy, seed
or number of images, even if the cache has changed. The settings are chosen before the run gets its identity, so that
the same command finds the same run again.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config import machine
from headstart.config.schema import is_random, mixes
from headstart.errors import UserError
from headstart.models import factory
from headstart.storage import locks
from headstart.storage.files import write_json
from headstart.tuning.records import LOCK, PINS, TimingFile, digest_key, read_pins
from headstart.tuning.timing import Setting, Timing, Trial, TrialSetup, isolate

if TYPE_CHECKING:
    from headstart.config.schema import AugmentConfig, HardwareConfig
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)

TIE = 1.03  # a simpler setting is chosen if its step takes at most this many times the fastest one's
LAYER = 0.2  # seconds that compiling takes per layer with parameters: EfficientNet-Lite0 has 99 and took 22 s
HALF = 0.5  # of a network's depth: phases that learn only above it are quick
AT_BEST = 1.5  # how many times as fast compiling may make a step, at most: assumed before it is tried


def tune_hardware(
    setup: TrialSetup, asked: str, steps: int, study: Path, cache: Path | None
) -> tuple[HardwareConfig, dict[str, Any]]:
    """Choose the hardware settings of a run with `hardware.tune`; also returns the pin, for `result.json`.

    Args:
        setup: its hardware is resolved (`headstart.runtime.hardware.resolve_hardware`).
        asked: `hardware.precision` before that; a precision that is not `auto` is not changed.
        steps: how many steps the run will train (`count_live_steps`).
        study: the study's folder, with the pins.
        cache: the folder of timings, or None.

    Raises:
        UserError: the study's folder cannot be written, or its pin needs a compiler that this machine does not have.
        RunFailed: another process has taken the measurement over.
    """
    key = digest_key(setup.network | {"precision": asked, "accelerator": setup.hardware.accelerator})
    pin = read_pins(study / PINS, logging.DEBUG).get(key)  # no lock where there is nothing to write
    if _lacks_trial(pin, steps):
        with locks.hold(study / LOCK, wait=True) as lock:  # a second run waits for the first one's pin
            pins = read_pins(study / PINS)
            pin = pins.get(key)
            if _lacks_trial(pin, steps):
                tried = [Setting(**pin["setting"])] if pin else list_candidates(setup.hardware, asked)
                pin = _choose(setup, TimingFile(setup, cache), steps, tried)
                if pin["images_per_second"]:  # else nothing could be measured, and the next run tries again
                    locks.raise_if_lost(study / LOCK, lock.claim)
                    write_json(study / PINS, pins | {key: pin})
    assert pin is not None
    picked = Setting(**pin["setting"])
    if picked.compile and not has_compiler(setup.hardware.accelerator):
        raise UserError(
            f"hardware.tune: {study / PINS} says that this study's networks are compiled, but this machine has no "
            "compiler for them: install one (g++ for a CPU, triton for a GPU), or choose another study=..."
        )
    if not steps:  # never compiled: the identity of such a run must not depend on the study's runs on images
        picked = replace(picked, compile=False)
    return picked.apply_to(setup.hardware), pin | {"setting": asdict(picked)}


def count_live_steps(phases: Sequence[Phase], augment: AugmentConfig, images: int, images_per_step: int) -> int:
    """Count a run's optimizer steps through at least half of its network; other steps are quick and not counted."""
    changes = is_random(augment) or mixes(augment)
    epochs = 0
    for phase in phases:
        its = phase.config
        changing = its.augment is not False and changes
        if its.epochs is not None and (not its.cache or phase.reach > HALF or (changing and its.views is None)):
            epochs += its.epochs
    return epochs * math.ceil(images / images_per_step)


def list_candidates(config: HardwareConfig, asked: str) -> list[Setting]:
    """List the settings to try without compiling, the config's own first, then with the other memory format."""
    formats = sorted(machine.MEMORY_FORMATS, key=lambda name: name != config.memory_format)
    precisions = [config.precision]
    if config.allow_bf16 and asked == "auto":
        precisions += ["32", "bf16", *(["16"] if config.accelerator == "gpu" else [])]
    return [Setting(form, precision, config.compile) for precision in dict.fromkeys(precisions) for form in formats]


def choose_setting(times: dict[Setting, Timing]) -> Setting | None:
    """Choose the first setting that is as fast as the fastest, or nearly as fast; None if none works."""
    working = {setting: timing.seconds for setting, timing in times.items() if timing.seconds is not None}
    fastest = min(working.values(), default=0.0)
    return next((setting for setting, seconds in working.items() if seconds <= TIE * fastest), None)


def has_compiler(accelerator: str) -> bool:
    """Whether torch.compile has what it needs: triton and a C compiler for a GPU, a C++ compiler for a CPU."""
    if accelerator == "gpu":
        return find_spec("triton") is not None and any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is not None


def check_compiler(config: HardwareConfig) -> None:
    """Raise UserError if a resolved config asks for torch.compile, and this machine cannot compile."""
    if config.compile and not has_compiler(config.accelerator):
        needed = "triton and a C compiler (gcc; or CC=…)" if config.accelerator == "gpu" else "a C++ compiler"
        raise UserError(
            f"hardware.compile=true: this machine lacks {needed}, which torch.compile needs: install it (Debian: "
            "apt-get install g++; another one: CXX=…), or use hardware.compile=false"
        )


def is_worth_compiling(steps: int, eager: float, compiled: float, cost: float) -> bool:
    """Whether `steps` steps of `compiled` instead of `eager` seconds save more than the `cost` of compiling."""
    return steps * (eager - compiled) > cost


def _choose(setup: TrialSetup, file: TimingFile, steps: int, eager: list[Setting]) -> dict[str, Any]:
    """Choose a setting, and whether to compile, from timings measured now or earlier on this machine."""
    trial: Trial | None = None

    def measure(settings: list[Setting]) -> dict[Setting, Timing]:
        nonlocal trial
        if trial is None:
            log.info("  hardware.tune: a few training steps of each setting are measured")
            trial = Trial(setup)
        return trial.time(settings)

    with isolate(setup.hardware):
        times = file.read()
        if any(setting not in times for setting in eager):  # measure all again, so that they can be compared
            times |= measure(eager)
        best = choose_setting({setting: times[setting] for setting in eager}) or eager[0]
        compiled = replace(best, compile=True)
        if compiled not in times and _may_pay_off(setup, steps, times[best]):
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
    return _make_pin(setup.batch_size, best, times, steps)


def _may_pay_off(setup: TrialSetup, steps: int, usual: Timing) -> bool:
    """Whether to try compiling: compare what it would save at best with an estimate of its cost."""
    if not (steps and usual.seconds and has_compiler(setup.hardware.accelerator)):
        return False
    layers = [part for part in factory.build_outline(setup.model).modules() if list(part.parameters(recurse=False))]
    hoped, guess = usual.seconds / AT_BEST, LAYER * len(layers)
    tried = is_worth_compiling(steps, usual.seconds, hoped, guess)
    log.info(
        "  hardware.tune: compiling is %s: over %d steps it saves %.0f s at best, and takes about %.0f s",
        "tried" if tried else "not tried", steps, steps * (usual.seconds - hoped), guess,
    )  # fmt: skip
    return tried


def _lacks_trial(pin: Mapping[str, Any] | None, steps: int) -> bool:
    """Whether a pin has to be made, or measured for training too."""
    return pin is None or bool(steps and not pin["steps"])


def _make_pin(batch_size: int, picked: Setting, times: dict[Setting, Timing], steps: int) -> dict[str, Any]:
    """Make the record of a decision, for the study and for `result.json`."""
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
    """Describe a pin in words: the chosen setting, and the images/s of every measured setting."""
    table = ", ".join(f"{name} {speed:.1f}" for name, speed in pin["images_per_second"].items())
    setting = Setting(**pin["setting"])
    return f"{setting}, format and precision as pinned for this network in this study  |  training images/s: {table}"
