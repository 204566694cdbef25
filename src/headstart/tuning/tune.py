"""``hardware.tune``: memory format, precision and compile, picked by measuring them and the same for a whole study.

What was measured is kept per machine under ``cache_dir/tune/``. What was picked is pinned in
``outputs/<study>/.tune.json`` by the study's first run with a network; all later runs of the study with that network
take it, whatever their strategy, seed or number of images, and whatever the cache says by then. As it is settled
before a run gets its identity, the same command finds the same run again.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headstart.config import machine
from headstart.config.schema import is_random, mixes
from headstart.errors import RunFailed, UserError
from headstart.models import factory
from headstart.runtime import hardware
from headstart.storage import locks
from headstart.storage.runs import write_json
from headstart.tuning.timing import Setting, Timing, Trial, isolate

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig, RunConfig
    from headstart.data.dataset import Data
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)

PINS, LOCK = ".tune.json", ".tune.lock"
TIE = 1.03  # a plainer setting whose step takes this many times the fastest's is taken instead
LAYER = 0.2  # seconds that compiling takes per layer with parameters: EfficientNet-Lite0 has 99 and took 22 s
HALF = 0.5  # of a network's depth: what learns only nearer the head is quick
AT_BEST = 1.5  # by how much compiling may make a step faster: what is hoped for before it is tried


def tune_hardware(
    config: "RunConfig", asked: str, data: "Data", phases: "Sequence[Phase]"
) -> "tuple[HardwareConfig, dict[str, Any] | None]":
    """The hardware settings of a run, and what is written down of them; the config's own and None without ``tune``.

    Args:
        config: its hardware is settled (`headstart.runtime.hardware.resolve_hardware`).
        asked: ``hardware.precision`` before that; one that is not ``auto`` stays.

    Raises:
        UserError: the study's folder cannot be written, or its pin asks for a compiler that is not here.
        RunFailed: another process has taken the trial over.
    """
    if not config.hardware.tune:
        return config.hardware, None
    study, steps = Path(config.output_dir) / config.study, live_steps(config, phases, data.sizes["train"])
    key = _digest(_network(config) | {"precision": asked, "accelerator": config.hardware.accelerator})
    with locks.hold(study / LOCK, wait=True) as lock:  # the second waits for the first's trial, and takes its pin
        pins = _read(study / PINS)
        pin = pins.get(key)
        picked = Setting(**pin["setting"]) if pin else None
        if pin is None or (steps and not pin["steps"]):
            pin = _pick(config, data, steps, [picked] if picked else candidates(config.hardware, asked))
            if pin["images_per_second"]:  # else nothing was learned that a study should be held to
                locks.raise_if_lost(study / LOCK, lock.claim)
                write_json(study / PINS, pins | {key: pin})
    picked = Setting(**pin["setting"])
    if picked.compile and not has_compiler(config.hardware.accelerator):
        raise UserError(
            f"hardware.tune: {study / PINS} says that this study's networks are compiled, but this machine has no "
            "compiler for them: install one (g++ for a CPU, triton for a GPU), or choose another study=..."
        )
    if not steps:  # nothing is compiled, whatever the study's runs on images decide: the run's identity must not change
        picked = replace(picked, compile=False)
    return picked.on(config.hardware), pin | {"setting": asdict(picked)}


def live_steps(config: "RunConfig", phases: "Sequence[Phase]", n_train: int) -> int:
    """Optimizer steps of a run through most of its network; those on features cached far up are too quick to count."""
    batches = math.ceil(n_train / (config.data.batch_size * config.hardware.devices))
    epochs = 0
    for phase in phases:
        its = phase.config
        changing = its.augment is not False and (is_random(config.augment) or mixes(config.augment))
        if its.epochs is not None and (not its.cache or phase.reach > HALF or (changing and its.views is None)):
            epochs += its.epochs
    return epochs * batches


def candidates(config: "HardwareConfig", asked: str) -> list[Setting]:
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
    """Whether ``steps`` steps of ``compiled`` instead of ``eager`` seconds save more than the ``cost`` of compiling."""
    return steps * (eager - compiled) > cost


def _pick(config: "RunConfig", data: "Data", steps: int, eager: list[Setting]) -> dict[str, Any]:
    """Decide between settings, and whether to compile, from what is measured, now or before on this machine."""
    file = _Kept(config, data)
    made: list[Trial] = []

    def timed(settings: list[Setting]) -> dict[Setting, Timing]:
        if not made:
            log.info("  hardware.tune: a few training steps of each setting are measured")
            made.append(Trial(config, len(data.classes), data.image_size))
        return made[0].time(settings)

    with isolate(config.hardware):
        times = file.read()
        if any(setting not in times for setting in eager):  # all anew: what is measured together compares
            times |= timed(eager)
        best = choose_setting({setting: times[setting] for setting in eager}) or eager[0]
        compiled = replace(best, compile=True)
        if compiled not in times and _may_repay(config, steps, times[best]):
            times |= timed([best, compiled])
    file.write(times)
    usual, quick = times[best], times.get(compiled, Timing())
    if steps and usual.seconds and quick.seconds:
        log.info(
            "  hardware.tune: %d steps of %.3f s compiled, %.3f s not: compiling saves %.0f s and costs %.0f s",
            steps, quick.seconds, usual.seconds, steps * (usual.seconds - quick.seconds), quick.starting,
        )  # fmt: skip
        if is_worth_compiling(steps, usual.seconds, quick.seconds, quick.starting):
            best = compiled
    return _pin(config, best, times, steps)


def _may_repay(config: "RunConfig", steps: int, usual: Timing) -> bool:
    """Whether compiling is worth a try: what it would save at best, against a guess of what it costs."""
    if not (steps and usual.seconds and has_compiler(config.hardware.accelerator)):
        return False
    layers = [part for part in factory.outline(config.model).modules() if list(part.parameters(recurse=False))]
    hoped, guess = usual.seconds / AT_BEST, LAYER * len(layers)
    tried = is_worth_compiling(steps, usual.seconds, hoped, guess)
    log.info(
        "  hardware.tune: compiling is %s: over %d steps it saves %.0f s at best, and takes about %.0f s",
        "tried" if tried else "not tried", steps, steps * (usual.seconds - hoped), guess,
    )  # fmt: skip
    return tried


def _pin(config: "RunConfig", picked: Setting, times: dict[Setting, Timing], steps: int) -> dict[str, Any]:
    """What is written down of a decision, for the study and for `result.json`."""
    speeds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for setting, timing in times.items():
        if timing.seconds is not None:
            speeds[str(setting)] = round(config.data.batch_size / timing.seconds, 2)
        else:
            failed[str(setting)] = timing.failed or ""
            log.info("  hardware.tune: %s is left out: %s", setting, timing.failed)
    return {"setting": asdict(picked), "steps": steps, "images_per_second": speeds, "left_out": failed}


def describe_pin(pin: dict[str, Any]) -> str:
    """A pin in words: what was picked, and the images/s of everything that was measured."""
    table = ", ".join(f"{name} {speed:.1f}" for name, speed in pin["images_per_second"].items())
    setting = Setting(**pin["setting"])
    return f"{setting}, format and precision as pinned for this network in this study  |  training images/s: {table}"


class _Kept:
    """The timings of one network at one size on this machine, on disk; failures are not kept, and so tried again."""

    def __init__(self, config: "RunConfig", data: "Data") -> None:
        import timm

        facts = hardware.describe(config.hardware)
        self.key = _network(config) | {
            **{name: facts[name] for name in ("accelerator", "device", "devices", "cores", "threads")},
            "versions": [torch.__version__, timm.__version__, version("headstart")],
            "optimizer": config.optimizer.get("_target_"),
            "image_size": data.image_size,
            "batch_size": config.data.batch_size,
            "limit": config.hardware.threads,
        }
        self.path = None if config.cache is None else config.cache / "tune" / f"{_digest(self.key)}.json"

    def read(self) -> dict[Setting, Timing]:
        """What was measured before; a damaged file counts as none."""
        if self.path is None or not self.path.is_file():
            return {}
        try:
            rows = json.loads(self.path.read_text("utf-8"))["times"]
            found = {Setting(**row["setting"]): Timing(float(row["seconds"]), float(row["starting"])) for row in rows}
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is damaged and is not used; its settings are measured anew", self.path)
            return {}
        return found

    def write(self, times: dict[Setting, Timing]) -> None:
        """Keep what was measured; a full disk costs the cache, not the run."""
        rows = [
            {"setting": asdict(setting), "seconds": timing.seconds, "starting": timing.starting}
            for setting, timing in times.items()
            if timing.seconds is not None
        ]
        if self.path is None:
            return
        try:
            write_json(self.path, {"key": self.key, "times": rows})
        except RunFailed as error:
            log.warning("hardware.tune: %s; the run goes on without", error)


def _network(config: "RunConfig") -> dict[str, Any]:
    return {
        "model": config.model.name,
        "args": config.model.args,
        "compile": config.hardware.compile,
        "allow_bf16": config.hardware.allow_bf16,
    }


def _digest(key: dict[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """The study's pins; none where there is no file, or a damaged one."""
    try:
        pins = json.loads(path.read_text("utf-8"))
        for pin in pins.values():
            Setting(**pin["setting"]), pin["steps"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.warning("%s is damaged and is not used; what is fastest is measured anew", path)
        return {}
    return dict(pins)
