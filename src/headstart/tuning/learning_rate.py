"""`learning_rate=find`: a range test proposes the learning rate, once for all runs of a study with the same settings.

The first such run writes its curve and the proposal to `outputs/<study>/.learning_rate.json` (a pin). All later runs
take the pinned rate, with any seed, fold or number of epochs: repeats differ in nothing but what they repeat. The rate
takes the place of `optimizer.lr` before the run gets its identity, so that the same command finds the same run again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.schema import FIND, takes_common_rate, to_plain
from headstart.errors import RunFailed
from headstart.runtime.seeds import get_random_state, set_random_state
from headstart.storage import locks
from headstart.storage.files import write_json, write_whole
from headstart.tuning.records import digest_key
from headstart.tuning.timing import isolate

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig, RunConfig
    from headstart.context import Context
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)

PINS, LOCK = ".learning_rate.json", ".learning_rate.lock"
FIGURE = "learning_rate.png"  # in the run's folder figures/
HEAD, TAIL = 10, 5  # steps at both ends that are not looked at: the first are hardly smoothed, the last diverge
FALL = 0.99  # of its first value the smoothed loss must reach, or no rate has taught anything


def resolve_rate(
    config: RunConfig, phases: Sequence[Phase], open_context: Callable[[RunConfig], Context]
) -> tuple[RunConfig, dict[str, Any] | None]:
    """Put the rate that a range test finds in the place of `optimizer.lr`; also returns the pin, if one was asked for.

    Args:
        config: with its hardware resolved.
        open_context: makes a new network, and all else that a phase needs; called only if there is no pin yet.

    Raises:
        RunFailed: at no rate does the loss fall.
    """
    if config.learning_rate != FIND:
        return config, None
    study = Path(config.output_dir) / config.study
    key = digest_key(_list_settings(config))
    pin = read_pins(study / PINS).get(key)
    if pin is None:
        with locks.hold(study / LOCK, wait=True) as lock:  # a second run waits for the first one's pin
            pins = read_pins(study / PINS)
            pin = pins.get(key)
            if pin is None:
                pin = _measure(config, phases, open_context)
                locks.raise_if_lost(study / LOCK, lock.claim)
                write_json(study / PINS, pins | {key: pin})
    return replace(config, optimizer=config.optimizer | {"lr": pin["rate"]}), pin


def read_pins(path: Path) -> dict[str, Any]:
    """Read the study's pins; none if there is no file, or it is damaged."""
    try:
        pins = json.loads(path.read_text("utf-8"))
        for pin in pins.values():
            float(pin["rate"]), float(pin["steepest"]), pin["phase"], int(pin["steps"])
            list(zip(pin["rates"], pin["losses"], pin["smoothed"], strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.warning("%s is damaged and is not used; the learning rate is looked for again", path)
        return {}
    return dict(pins)


def choose_phase(phases: Sequence[Phase]) -> int:
    """The number of the phase that is tested: of those that learn at `optimizer.lr`, the last of the deepest ones.

    The deeper a phase learns, the lower is the rate at which it diverges, and all of them share the rate.
    """
    reaches = [phase.reach if takes_common_rate(phase.config) else -1.0 for phase in phases]
    return max(range(len(phases)), key=lambda index: (reaches[index], index))


def find_valley(losses: Sequence[float]) -> int:
    """The place that fastai calls valley: the middle of the longest descent.

    That is the longest falling subsequence of the losses; of equally long ones the first counts.
    """
    lengths, ends = [1] * len(losses), 0
    for place, loss in enumerate(losses):
        lengths[place] = 1 + max((lengths[each] for each in range(place) if loss < losses[each]), default=0)
        if lengths[place] > lengths[ends]:
            ends = place
    start = ends - lengths[ends]
    third = (ends - start) / 3
    return max(0, start + int(third) + int(third / 2))


def find_steepest(losses: Sequence[float]) -> int:
    """The place where a curve falls fastest, over the logarithm of the rate."""
    return min(range(len(losses) - 1), key=lambda place: losses[place + 1] - losses[place])


def propose(rates: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """The rate that a smoothed curve proposes (its valley), and that of its steepest descent, both to two digits.

    Raises:
        RunFailed: the curve does not fall, or has too few steps.
    """
    kept = slice(HEAD, len(losses) - TAIL)
    rates, losses = rates[kept], losses[kept]
    if len(losses) < 2 or min(losses) > FALL * losses[0]:
        raise RunFailed(
            "learning_rate=find: the loss falls at no learning rate, so none can be proposed: set optimizer.lr, and "
            "look at data, augmentation and hardware.precision"
        )
    valley, steepest = rates[find_valley(losses)], rates[find_steepest(losses)]
    return float(f"{valley:.2g}"), float(f"{steepest:.2g}")


def use_one_process(hardware: HardwareConfig) -> HardwareConfig:
    """The hardware of a process whose step has as many images as a step of all processes on all machines."""
    batches = hardware.accumulate * hardware.processes
    return replace(hardware, devices=1, nodes=1, compile=False, accumulate=batches)


def describe_pin(pin: Mapping[str, Any]) -> str:
    """Describe a pin in words."""
    return (
        f"optimizer.lr={pin['rate']:g}, by a range test of {pin['steps']} steps of phase {pin['phase']} (steepest at "
        f"{pin['steepest']:g}); the same for all such runs of this study"
    )


def summarise_pin(pin: Mapping[str, Any]) -> dict[str, Any]:
    """What `result.json` says of a pin: all but the curve, which is in the run's figure and in the study's file."""
    return {name: value for name, value in pin.items() if not isinstance(value, list)}


def draw_pin(pin: Mapping[str, Any], path: Path) -> None:
    """Draw the curve of a range test, and the rates that it proposes."""
    from headstart.tracking.plot_style import COLOURS, MUTED, STYLE, draw_in, save, sheet

    with draw_in(STYLE):
        figure = sheet(6.4, 3.8)
        axes = figure.subplots()
        axes.plot(pin["rates"], pin["losses"], color=MUTED, alpha=0.4, linewidth=0.8, label="each step")
        axes.plot(pin["rates"], pin["smoothed"], color=COLOURS[0], label="smoothed")
        axes.axvline(pin["steepest"], color=COLOURS[2], linestyle=":", label=f"steepest descent: {pin['steepest']:g}")
        axes.axvline(pin["rate"], color=COLOURS[1], label=f"taken (valley): {pin['rate']:g}")
        axes.set(
            xscale="log", xlabel="learning rate", ylabel="training loss", title=f"Range test of phase {pin['phase']}"
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, 1.05 * max(pin["smoothed"]))
        axes.legend(frameon=False)
        path.parent.mkdir(exist_ok=True)
        with write_whole(path) as part:
            save(figure, part)


def _measure(
    config: RunConfig, phases: Sequence[Phase], open_context: Callable[[RunConfig], Context]
) -> dict[str, Any]:
    """Do the range test, in this process alone: a step of several processes takes as many batches here."""
    from headstart.training.range_test import run_range_test  # imports Lightning, which takes seconds

    log.info("  learning_rate=find: the phase that learns deepest is trained for some steps at rising rates")
    index, began = choose_phase(phases), time.monotonic()
    alone = use_one_process(config.hardware)
    before = get_random_state()
    try:
        with isolate(alone):
            curve = run_range_test(open_context(replace(config, hardware=alone)), phases[index], index)
    finally:
        set_random_state(before)
    rate, steepest = propose(curve.rates, curve.smoothed)
    return {
        "rate": rate,
        "steepest": steepest,
        "phase": phases[index].name,
        "steps": len(curve.rates),
        "seed": config.seed,
        "seconds": round(time.monotonic() - began, 2),
        **{"model": config.model.name, "strategy": config.strategy.name, "data": config.data.name},
        "rates": [float(f"{each:.4g}") for each in curve.rates],
        "losses": [float(f"{each:.5g}") for each in curve.losses],
        "smoothed": [float(f"{each:.5g}") for each in curve.smoothed],
    }


def _list_settings(config: RunConfig) -> dict[str, Any]:
    """The settings that a pin is for: what a step of training depends on, without what repeats vary."""
    plain = to_plain(config)
    names = ("source", "image_size", "resize", "flip", "pixel_range", "sampling", "n_train", "train_per_class")
    data = {name: plain["data"][name] for name in (*names, "train_fraction")}
    phases = {name: {**phase, "epochs": None} for name, phase in plain["strategy"]["phases"].items()}
    hardware = plain["hardware"]
    return {
        **{name: plain[name] for name in ("model", "augment", "label_smoothing", "class_weights")},
        "data": data,
        "strategy": [plain["strategy"]["start"], phases],
        "optimizer": {name: value for name, value in plain["optimizer"].items() if name != "lr"},
        "images_per_step": config.data.batch_size * config.hardware.accumulate * config.hardware.processes,
        **{name: hardware[name] for name in ("precision", "clip")},
    }
