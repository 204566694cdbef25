"""One experiment from a validated config to its result; read top to bottom, it is the way of the data."""

import logging
import time
from typing import Any

import torch

from headstart import config as configs
from headstart import fit, hardware, runs, strategy, validate
from headstart.conclude import conclude
from headstart.config import RunConfig
from headstart.data import Data, prepare
from headstart.logger import RunLog
from headstart.models import factory, weights

log = logging.getLogger(__name__)


def run(config: RunConfig, overrides: list[str]) -> dict[str, Any]:
    """Run one experiment and return what its `result.json` holds; a completed one is not run again.

    Raises:
        UserError: the config, the data, the weights or the machine cannot do what is asked.
    """
    config.hardware = hardware.settle(config.hardware)
    device = hardware.apply(config.hardware)
    validate.check_components(config)
    spec = factory.expected_input(config.model)
    strategy.plan(factory.outline(config.model), config.strategy.phases)
    data = prepare(
        config.data,
        image_size=config.data.image_size or spec.image_size,
        crop_pct=spec.crop_pct,
        interpolation=spec.interpolation,
        workers=config.hardware.workers,
    )
    pretrained = config.strategy.start == "pretrained"
    digests = {"data": data.digest, "weights": weights.source_digest(config.model.weights) if pretrained else None}
    with runs.hold(configs.plain(config)) as here:
        done = here.completed(digests)
        if done is not None and not config.rerun:
            accuracy = 100 * done["test"]["accuracy"]
            log.info("%s is complete (test accuracy %.1f %%): skipped; rerun=true runs it again", here.folder, accuracy)
            return done
        began = time.monotonic()
        here.begin(configs.plain(config), overrides)
        with _logger(config, here) as run_log:
            model = _model(config, data, pretrained, device)
            context = fit.Context(config, here, run_log, data, model, spec, device, digests)
            phases = strategy.plan(model, config.strategy.phases)
            ways = [fit.way(context, phase) for phase in phases]
            _say_facts(context, phases, ways)
            outcomes = []
            for index, (phase, way) in enumerate(zip(phases, ways, strict=True)):
                here.state(status="running", phase=phase.name, index=index, of=len(phases))
                outcomes.append(fit.run_phase(context, phase, index, way))
            weights.save(model, here.folder / weights.FINAL)
            result = conclude(context, phases, ways, outcomes, began)
    log.info(
        "  test accuracy %.1f %% on %d images  |  %.1f s  |  %s",
        100 * result["test"]["accuracy"],
        result["n_test"],
        result["seconds"]["total"],
        here.folder,
    )
    return result


def _logger(config: RunConfig, here: runs.Run) -> RunLog:
    return RunLog(
        here.folder,
        config.logger,
        run_id=here.id,
        name=here.name,
        study=here.study,
        job_type=config.strategy.name,
        config=configs.flat(config),
    )


def _model(config: RunConfig, data: Data, pretrained: bool, device: torch.device) -> Any:
    """The network for the data's classes, its new head drawn from the run's seed, on the device."""
    torch.manual_seed(config.seed)
    model, notes = factory.create(config.model, data.classes, pretrained=pretrained)
    for note in [*notes, *data.adaptations]:
        log.info("  %s", note)
    return model.to(device).to(memory_format=hardware.memory_format(config.hardware))


def _say_facts(context: fit.Context, phases: list[strategy.Phase], ways: list[fit.Way]) -> None:
    """What the run is, before it starts: sizes, machine, and the strategy as a table."""
    config, sizes = context.config, context.data.sizes
    log.info(
        "  %d classes, %d train + %d validation + %d test images at %d px  |  %s, %s, %s  |  %s",
        len(context.data.classes),
        sizes["train"],
        sizes["val"],
        sizes["test"],
        context.data.image_size,
        context.device.type,
        config.hardware.precision,
        config.hardware.memory_format,
        f"weights {config.model.weights}" if config.strategy.start == "pretrained" else "weights random",
    )
    for line in strategy_table(phases, ways, config.optimizer["lr"]):
        log.info("  %s", line)


def strategy_table(phases: list[strategy.Phase], ways: list[fit.Way], lr: float) -> list[str]:
    """The strategy as aligned lines: phase, depth, rate, parameters, and how its prefix is run."""
    lines = [f"{'phase':<14}{'depth':<8}{'rate':>10}  {'parameters':>12}"]
    for phase, way in zip(phases, ways, strict=True):
        work = "one solve" if phase.config.probe else f"{phase.config.epochs} epochs, lr {phase.config.lr or lr:g}"
        cached = f"prefix cached up to {way.cut.at}" if way.cut else f"not cached: {way.why}"
        for number, (depth, _, rate, count) in enumerate(phase.rows):
            tail = f"  {work}; {cached}" if number == 0 else ""
            shown = "frozen" if rate is None else f"{rate:g}"
            lines.append(f"{phase.name if number == 0 else '':<14}{depth:<8}{shown:>10}  {count:>12,}{tail}")
    return lines
