"""One experiment from a checked config to its result: the steps of a run, from top to bottom."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headstart.config import flat, own_code
from headstart.config.instantiate import build
from headstart.config.schema import RunConfig, to_plain
from headstart.context import Context, copy_pretrained, create_model
from headstart.data import seen
from headstart.data.checks import check_images, find_duplicates
from headstart.data.dataset import Data, prepare
from headstart.data.splits import Part
from headstart.distributed import comm, torchrun
from headstart.evaluation import keep
from headstart.evaluation.evaluate import prepare_evaluation
from headstart.evaluation.result import describe_attempt, finish_run
from headstart.models import factory, preprocessing
from headstart.models.code import digest_own_code
from headstart.models.input import Input
from headstart.runtime import hardware, shared
from headstart.runtime.memory import keep_freed_memory
from headstart.storage import runs
from headstart.storage.records import Result
from headstart.storage.skip import find_completed, raise_if_pruned, skip
from headstart.strategy.plan import Phase, check_schedule, plan_phases
from headstart.strategy.route import check_probes, choose_route
from headstart.tracking import progress, wandb_sweep
from headstart.tracking.logger import RunLog, SilentLog
from headstart.training.facts import log_facts
from headstart.training.phases import run_phases
from headstart.tuning import tune
from headstart.tuning.resolve import Picks, note_picks, resolve_auto

log = logging.getLogger(__name__)


@progress.watch_run()
def run(config: RunConfig, overrides: Sequence[str]) -> Result:
    """Run one experiment and return the content of its `result.json`; a completed one is not run again.

    Args:
        config: checked by `headstart.preflight.command`; it is not changed.
        overrides: from which the config was composed; they are written to the run's folder.

    Raises:
        UserError: the data, the weights or the machine are not fit for the run.
        Pruned: its siblings are better (`prune`); it has no result.
    """
    config, data, digests, picked = _resolve(config)
    if (done := _find_done(config, data, digests)) is not None:
        return done
    with runs.lock_run(to_plain(config), digests) as this_run:
        if (done := _find_done(config, data, digests)) is not None:  # another process has completed it meanwhile
            return done
        this_run.begin(to_plain(config), overrides, config.rerun)
        note_picks(this_run, picked)
        phases_done = this_run.read_state().get("done", [])
        if config.hardware.processes == 1:
            work(config, this_run, digests, phases_done, data)
        else:
            with progress.pause():
                orders = torchrun.Spec(to_plain(config), this_run, digests, phases_done, progress.export())
                progress.add_shown(torchrun.start(orders, config.hardware))
        result = this_run.read_result()
        assert result is not None
    log.info(
        "  test accuracy %.1f %% on %d images  |  %.1f s  |  %s",
        100 * result.read_accuracy("test"),
        result["n_test"],
        result["seconds"]["total"],
        this_run.folder,
    )
    return result


def find_done(config: RunConfig) -> Result | None:
    """The result of a completed run, looked for as `run` does; None if there is none; raises Pruned if it was."""
    config, data, digests, _ = _resolve(config)
    return _find_done(config, data, digests)


def _find_done(config: RunConfig, data: Data, digests: Mapping[str, str | None]) -> Result | None:
    if (done := find_completed(config, digests)) is None:
        raise_if_pruned(config, digests)
        return None
    skip(config, done)
    keep.say_if_missing(done.folder, config.keep)
    if config.logger.wandb and wandb_sweep.find_run_id():  # the sweep waits for the score of what it has asked for
        this_run = runs.Run(done.folder, done.folder.name, config.study, done.folder.name.rpartition("-")[2])
        alone = replace(config, logger=wandb_sweep.leave_others_out(config.logger))
        with _open_logger(alone, this_run, {**digests, "content": data.content}) as run_log:
            run_log.finish(done)
    done.skipped = True
    return done


def _resolve(config: RunConfig) -> tuple[RunConfig, Data, dict[str, str | None], Picks]:
    """Read the data and resolve what a config leaves open; also returns the digests, and the pins of the study."""
    own_code.load(config.imports or ())
    config = replace(config, model=preprocessing.adopt(config.model))
    spec = preprocessing.expected_input(config.model)
    phases = _plan(config)
    tune.check_compiler(hardware.resolve_hardware(config.hardware))
    data = prepare_data(config, spec)
    stated = preprocessing.state(spec, data.image_size, data.resize, config.preprocessing)
    config = replace(config, data=replace(config.data, resize=data.resize), preprocessing=stated)
    config, picked = resolve_auto(config, data, phases, spec)
    check_schedule(phases, config.scheduler, config.optimizer["lr"])
    source = factory.digest_weights(config.model) if config.strategy.start == "pretrained" else None
    digests = {"data": data.digest, "weights": source} | preprocessing.digest(config.model.weights, stated)
    return config, data, digests | digest_own_code(config), picked


def work(
    config: RunConfig,
    this_run: runs.Run,
    digests: Mapping[str, str | None],
    done: list[dict[str, Any]],
    data: Data | None = None,
) -> None:
    """Do the work of a run, in its only process or in each of several, and write the result to its folder.

    Args:
        config: every `auto` in it is resolved, as in `run`.
        done: the records of the phases that an earlier attempt finished.
    """
    began = time.monotonic()
    own_code.load(config.imports or ())
    with keep_freed_memory(config.hardware), hardware.use_threads(config.hardware):
        spec = preprocessing.expected_input(config.model)
        data = data or prepare_data(config, spec)
        with _open_logger(config, this_run, {**digests, "content": data.content}) as run_log:
            check_images(data, config.data.on_bad_image, config.cache)
            comm.check_same(
                "the data and classes", [digests["data"], data.digest, *map(Part.digest, data.parts.values())]
            )
            context = _make_context(config, this_run, run_log, data, spec, digests)
            start = config.model.weights if config.strategy.start == "pretrained" else "none"
            earlier = seen.find_seen(data.parts["test"], start)
            phases = plan_phases(context.model, config.strategy.phases)
            routes = [choose_route(context.model, phase, config.augment, data.image_size) for phase in phases]
            log_facts(context, phases, routes)
            unlearnt = keep.digest_unlearnt(context, phases)
            progress.end_facts()
            outcomes, extractor = run_phases(context, phases, routes, done)
            if this_run.leads:
                seen.write_seen(this_run.folder, data.parts, earlier)
                keep.save_weights(context, unlearnt, headless=outcomes[-1].probe_digest is not None)
            finish_run(prepare_evaluation(context, routes[-1], outcomes[-1], extractor), phases, outcomes, began)
            keep.free(context)


def _make_context(
    config: RunConfig,
    this_run: runs.Run,
    run_log: RunLog,
    data: Data,
    spec: Input,
    digests: Mapping[str, str | None],
) -> Context:
    """Create the network, check that it takes images of this size, and build what the phases work on."""
    device, side = hardware.select_device(config.hardware), data.image_size
    model, notes = create_model(config, data, device, digests)
    for note in notes:
        log.info("  %s", note)
    shared.derive(model, "size", side, lambda: factory.check_size(model, config.model.name, side, spec.image_size))
    return Context(
        config=config,
        run=this_run,
        run_log=run_log,
        data=data,
        model=model,
        input=spec,
        device=device,
        digests=digests,
        duplicates=find_duplicates(data.parts, data.classes),
        measures=[build("measure", node) for node in config.measures.values()],
        pretrained=copy_pretrained(config, model),
    )


def _plan(config: RunConfig) -> list[Phase]:
    """Apply the phases to the network's outline (its layers without weights), before any data is read.

    Raises:
        UserError: a phase does not fit the network or the schedule.
    """
    outline = factory.build_outline(config.model)
    phases = plan_phases(outline, config.strategy.phases)
    check_schedule(phases, config.scheduler, config.optimizer["lr"])
    check_probes(outline, config.strategy.phases)
    return phases


def prepare_data(config: RunConfig, spec: Input) -> Data:
    """Read and split the data of a run; `headstart data` shows what comes out."""
    with progress.task("reading the data"):
        return prepare(
            config.data,
            image_size=config.data.image_size or spec.image_size,
            crop_pct=spec.crop_pct,
            interpolation=spec.interpolation,
            workers=config.hardware.workers,
            processes=config.hardware.devices,
            cache_dir=config.cache,
            resize=spec.resize,
            mean=spec.mean,
        )


def _open_logger(config: RunConfig, this_run: runs.Run, digests: Mapping[str, str | None]) -> RunLog:
    if not this_run.leads:
        return SilentLog()
    return RunLog(
        this_run.folder,
        config.logger,
        run_id=this_run.id,
        name=this_run.name,
        study=this_run.study,
        job_type=config.strategy.name,
        config=flat.flatten(config) | describe_attempt(config, this_run, digests),
    )
