"""One experiment from a validated config to its result; read top to bottom, it is the way of the data."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch

from headstart.config import instantiate, schema
from headstart.config.schema import RunConfig
from headstart.context import Context
from headstart.data.checks import warn_of_duplicates
from headstart.data.dataset import Data, prepare
from headstart.distributed import torchrun
from headstart.evaluation.result import finish_run
from headstart.models import factory, weights
from headstart.preflight import components
from headstart.runtime import hardware
from headstart.storage import runs
from headstart.strategy import plan, table
from headstart.strategy.route import Way, check_probes, way
from headstart.tracking.logger import RunLog, SilentLog
from headstart.training.phases import run_phases
from headstart.tuning import tune

log = logging.getLogger(__name__)


def run(config: RunConfig, overrides: list[str]) -> dict[str, Any]:
    """Run one experiment and return what its `result.json` holds; a completed one is not run again.

    Raises:
        UserError: the config, the data, the weights or the machine cannot do what is asked.
    """
    asked = config.hardware
    config.hardware = hardware.resolve_hardware(asked)
    components.check(config)
    spec = factory.expected_input(config.model)
    outline = factory.outline(config.model)
    planned = plan.plan(outline, config.strategy.phases)
    plan.check_floor(planned, config)
    check_probes(outline, config.strategy)
    data = _data(config, spec)
    config.data.storage = "stream" if data.streamed else "memory"  # the same in every process
    config.hardware, tuned = tune.tune_hardware(config, asked.precision, data, planned)
    source = weights.source_digest(config.model.weights) if config.strategy.start == "pretrained" else None
    digests = {"data": data.digest, "weights": source}
    with runs.lock_run(schema.plain(config), digests) as here:
        done = here.completed()
        if done is not None and not config.rerun:
            accuracy = 100 * done["test"]["accuracy"]
            log.info("%s is complete (test accuracy %.1f %%): skipped; rerun=true runs it again", here.folder, accuracy)
            return done
        here.begin(schema.plain(config), overrides, fresh=done is not None)
        if tuned:
            here.state(tuned=tuned)
            log.info("  hardware.tune: %s", tune.describe_pin(tuned))
        phases_done = here.read_state().get("done", [])
        if config.hardware.devices == 1:
            work(config, here, digests, phases_done, data)
        else:
            torchrun.start(config, here, digests, phases_done)
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
    """The run itself, in its one process or in each of several; leaves its result in its folder."""
    began = time.monotonic()
    with hardware.keep_freed_memory(config.hardware), hardware.use_threads(config.hardware):
        device = hardware.select_device(config.hardware)
        spec = factory.expected_input(config.model)
        data = data or _data(config, spec)
        data.check(config.data.on_bad_image, config.cache)
        with _logger(config, here) as run_log:
            model = _model(config, data, device)
            factory.check_size(model, config.model.name, data.image_size, spec.image_size)
            measures = [instantiate.build(node) for node in config.measures.values()]
            start = _pretrained(config, model)
            context = Context(config, here, run_log, data, model, spec, device, digests, measures, start)
            phases = plan.plan(model, config.strategy.phases)
            ways = [way(model, phase, config, data.image_size) for phase in phases]
            _say_facts(context, phases, ways)
            outcomes = run_phases(context, phases, ways, done)
            if here.leads:
                weights.save(model, here.folder / weights.FINAL)
            finish_run(context, phases, ways, outcomes, began)


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
        config=schema.flat(config),
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


def _say_facts(context: Context, phases: list[plan.Phase], ways: list[Way]) -> None:
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
    hardware_, batch = config.hardware, config.data.batch_size
    if any(way.kind != "probe" for way in ways):
        log.info(
            "  %d images per step: batches of %d, %d process(es), %d accumulated  |  lr %g, not scaled by it",
            batch * hardware_.devices * hardware_.accumulate,
            batch,
            hardware_.devices,
            hardware_.accumulate,
            config.optimizer["lr"],
        )
    warn_of_duplicates(context.data.duplicates)
    lines = table.lines(table.rows(phases, ways, config))
    for line in lines:
        log.info("  %s", line)
    context.run_log.text("strategy_table", lines)
