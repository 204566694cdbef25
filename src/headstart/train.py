"""One experiment from a checked config to its result; read top to bottom, it is the way of the data."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart.config.instantiate import build
from headstart.config.schema import HardwareConfig, RunConfig, flat, plain
from headstart.context import Context
from headstart.data.checks import check_images, find_duplicates, warn_of_duplicates
from headstart.data.dataset import Data, prepare
from headstart.distributed import torchrun
from headstart.evaluation.evaluate import prepare_evaluation
from headstart.evaluation.result import finish_run
from headstart.models import factory, weights
from headstart.runtime import hardware
from headstart.runtime.memory import keep_freed_memory
from headstart.storage import runs
from headstart.strategy import table
from headstart.strategy.plan import Phase, check_schedule, plan_phases
from headstart.strategy.route import FittedHead, Route, check_probes, choose_route
from headstart.tracking.logger import RunLog, SilentLog
from headstart.training.phases import run_phases
from headstart.tuning import tune
from headstart.tuning.timing import TrialSetup

log = logging.getLogger(__name__)


def run(config: RunConfig, overrides: Sequence[str]) -> runs.Result:
    """Run one experiment and return what its `result.json` holds; a completed one is not run again.

    Args:
        config: checked by `headstart.preflight.command`; it stays as it is.
        overrides: what it was made of, for the run's folder.

    Raises:
        UserError: the data, the weights or the machine cannot do what is asked.
    """
    spec = factory.expected_input(config.model)
    phases = _plan(config)
    data = _data(config, spec)
    config, tuned = _settle(config, data, phases)
    source = weights.source_digest(config.model.weights) if config.strategy.start == "pretrained" else None
    digests = {"data": data.digest, "weights": source}
    with runs.lock_run(plain(config), digests) as here:
        done = here.completed()
        if done is not None and not config.rerun:
            accuracy = 100 * done["test"]["accuracy"]
            log.info("%s is complete (test accuracy %.1f %%): skipped; rerun=true runs it again", here.folder, accuracy)
            return done
        here.begin(plain(config), overrides, fresh=done is not None)
        if tuned:
            here.state(tuned=tuned)
            log.info("  hardware.tune: %s", tune.describe_pin(tuned))
        phases_done = here.read_state().get("done", [])
        if config.hardware.devices == 1:
            work(config, here, digests, phases_done, data)
        else:
            torchrun.start(plain(config), config.hardware, here, digests, phases_done)
        result = here.completed()
        assert result is not None
    log.info(
        "  test accuracy %.1f %% on %d images  |  %.1f s  |  %s",
        100 * result["test"]["accuracy"],
        result["n_test"],
        result["seconds"]["total"],
        here.folder,
    )
    return result


def work(
    config: RunConfig,
    here: runs.Run,
    digests: Mapping[str, str | None],
    done: list[dict[str, Any]],
    data: Data | None = None,
) -> None:
    """The run itself, in its one process or in each of several; leaves its result in its folder.

    Args:
        config: settled, as `run` does it.
        done: the records of the phases that an earlier attempt finished.
    """
    began = time.monotonic()
    with keep_freed_memory(config.hardware), hardware.use_threads(config.hardware):
        device = hardware.select_device(config.hardware)
        spec = factory.expected_input(config.model)
        data = data or _data(config, spec)
        check_images(data, config.data.on_bad_image, config.cache)
        with _logger(config, here) as run_log:
            model = _model(config, data, device)
            factory.check_size(model, config.model.name, data.image_size, spec.image_size)
            measures = [build(node) for node in config.measures.values()]
            start = _pretrained(config, model)
            context = Context(
                config=config,
                run=here,
                run_log=run_log,
                data=data,
                model=model,
                input=spec,
                device=device,
                digests=digests,
                duplicates=find_duplicates(data.parts),
                measures=measures,
                pretrained=start,
            )
            phases = plan_phases(model, config.strategy.phases)
            routes = [choose_route(model, phase, config.augment, data.image_size) for phase in phases]
            _say_facts(context, phases, routes)
            outcomes, extractor = run_phases(context, phases, routes, done)
            if here.leads:
                weights.save(model, here.folder / weights.FINAL)
            finish_run(prepare_evaluation(context, routes[-1], outcomes[-1], extractor), phases, outcomes, began)


def _plan(config: RunConfig) -> list[Phase]:
    """The phases applied to the network's outline, before any data is read; what does not fit it is refused."""
    outline = factory.outline(config.model)
    phases = plan_phases(outline, config.strategy.phases)
    check_schedule(phases, config.scheduler, config.optimizer["lr"])
    check_probes(outline, config.strategy.phases)
    return phases


def _settle(config: RunConfig, data: Data, phases: Sequence[Phase]) -> tuple[RunConfig, dict[str, Any] | None]:
    """The config with every `auto` decided for this machine, the same in every process; and what a trial found."""
    storage = replace(config.data, storage="stream" if data.streamed else "memory")
    settled = replace(config, hardware=hardware.resolve_hardware(config.hardware), data=storage)
    if not settled.hardware.tune:
        return settled, None
    batch = settled.data.batch_size
    setup = TrialSetup(
        model=settled.model,
        hardware=settled.hardware,
        optimizer=settled.optimizer,
        batch_size=batch,
        image_size=data.image_size,
        classes=len(data.classes),
    )
    steps = tune.live_steps(phases, settled.augment, data.sizes["train"], batch * settled.hardware.devices)
    study = Path(settled.output_dir) / settled.study
    tuned_hardware, tuned = tune.tune_hardware(setup, config.hardware.precision, steps, study, settled.cache)
    return replace(settled, hardware=tuned_hardware), tuned


def _data(config: RunConfig, spec: factory.Input) -> Data:
    return prepare(
        config.data,
        image_size=config.data.image_size or spec.image_size,
        crop_pct=spec.crop_pct,
        interpolation=spec.interpolation,
        workers=config.hardware.workers,
        processes=config.hardware.devices,
        cache_dir=config.cache,
    )


def _logger(config: RunConfig, here: runs.Run) -> RunLog:
    if not here.leads:
        return SilentLog()
    return RunLog(
        here.folder,
        config.logger,
        run_id=here.id,
        name=here.name,
        study=here.study,
        job_type=config.strategy.name,
        config=flat(config),
    )


def _model(config: RunConfig, data: Data, device: torch.device) -> Any:
    """The network for the data's classes, its new head drawn from the run's seed, on the device."""
    pretrained = config.strategy.start == "pretrained"
    torch.manual_seed(config.seed)
    model, notes = factory.create(config.model, data.classes, pretrained=pretrained)
    for note in [*notes, *data.adaptations]:
        log.info("  %s", note)
    return model.to(device).to(memory_format=hardware.memory_format(config.hardware))


def _pretrained(config: RunConfig, model: Any) -> dict[str, torch.Tensor]:
    """A copy of the backbone's weights, before any phase, where a penalty will look back at them."""
    if all(phase.penalty is None for phase in config.strategy.phases.values()):
        return {}
    head = {id(parameter) for parameter in model.get_classifier().parameters()}
    return {name: value.detach().clone() for name, value in model.named_parameters() if id(value) not in head}


def _say_facts(context: Context, phases: Sequence[Phase], routes: Sequence[Route]) -> None:
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
    if not all(isinstance(route, FittedHead) for route in routes):
        _say_step(config.hardware, config.data.batch_size, config.optimizer["lr"])
    warn_of_duplicates(context.duplicates)
    options = table.Options(config.optimizer["lr"], config.label_smoothing, config.patience, config.augment)
    lines = table.lines(table.rows(phases, routes, options))
    for line in lines:
        log.info("  %s", line)
    context.run_log.text("strategy_table", lines)


def _say_step(hardware_: HardwareConfig, batch: int, lr: float) -> None:
    log.info(
        "  %d images per step: batches of %d, %d process(es), %d accumulated  |  lr %g, not scaled by it",
        batch * hardware_.devices * hardware_.accumulate,
        batch,
        hardware_.devices,
        hardware_.accumulate,
        lr,
    )
