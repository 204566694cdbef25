"""Run the jobs of a checked command: here one after the other, or on Ray or Slurm; a failed one stops no other."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext
from hydra.utils import execution_whitelist
from omegaconf import DictConfig, OmegaConf, open_dict

from headstart.cli import sharing, supervise
from headstart.cli.progress import Sweep
from headstart.cli.summary import JobSummary
from headstart.config import own_code
from headstart.preflight.command import Command, Job
from headstart.runtime.shared import between_jobs
from headstart.storage.journal import FAILED, PRUNED, SKIPPED, Journal

RunSweep = Callable[[Command, DictConfig, HydraContext, JobSummary], None]

# What Hydra itself may build from a config: log handlers, our formatter and our callback.
HYDRA_TARGETS = ("logging.*", "headstart.storage.redact.Formatter", "headstart.cli.callbacks.Folders")


def list_hydra_targets() -> list[str]:
    """What Hydra itself may build: as `headstart.config.instantiate`, also what packages of one's own define."""
    return [*HYDRA_TARGETS, *(f"{package}.*" for package in own_code.packages())]


def run_jobs(command: Command, summary: JobSummary, run_sweep: RunSweep) -> None:
    """Run every job as Hydra's own launcher does: with Hydra's logging, callbacks, environment and folder."""
    assert command.loader is not None
    assert command.composer is not None
    whitelist = list_hydra_targets()
    with execution_whitelist(whitelist), between_jobs() if command.multirun else nullcontext():
        if command.multirun:
            settings = command.composer.launch_config(command.shared)
            context, callbacks = command.loader.context(settings, whitelist)
            with _use_sweep_config(settings):
                callbacks.on_multirun_start(config=settings, config_name="config")
                try:
                    run_sweep(command, settings, context, summary)
                finally:
                    callbacks.on_multirun_end(config=settings, config_name="config")
            return
        (job,) = command.jobs
        config = command.composer.launch_config(job.overrides)
        context, callbacks = command.loader.context(config, whitelist)
        callbacks.on_run_start(config=config, config_name="config")
        returned: Any = None
        try:
            returned = run_job(make_task(job, summary), config, "hydra.run.dir", None, context)
        finally:
            callbacks.on_run_end(config=config, config_name="config", job_return=returned)


def run_sweep(command: Command, settings: DictConfig, context: HydraContext, summary: JobSummary) -> None:
    """Run the jobs of a sweep: one after the other, or on Ray or Slurm."""
    sweep = Sweep(command.jobs, command.repeated)
    summary.shares = True
    folder = Path(settings.hydra.sweep.dir)
    if command.ray is not None:
        from headstart.cli import ray_sweep

        ray_sweep.run(sweep, summary, command.ray, folder, dict(settings.hydra.job.env_set))
        return
    if command.slurm is not None:
        from headstart.cli import slurm_sweep

        slurm_sweep.run(sweep, summary, command.slurm, folder, dict(settings.hydra.job.env_set))
        return
    sweep.announce()
    with Journal(folder).open(sweep.list_states()) as sweep.journal:
        take_over(sweep, summary)
        waiting = [(number, job) for number, job in enumerate(command.jobs) if number not in sweep.ended]
        supervise.announce(sweep.journal.path)
        for number, job in sharing.take_turns(waiting, summary.held):
            if summary.failed and job.config.fail_fast:
                break
            run_job_of_sweep(command, settings, context, number, make_task(job, summary, sweep, number))
    summary.closing = sweep.describe_end()


def take_over(sweep: Sweep, summary: JobSummary) -> None:
    """Count what ended in a process of this command that was killed; the job that was killed with it has failed."""
    for number, state in supervise.find_ended(sweep.list_states()).items():
        overrides = sweep.jobs[number].task_overrides
        sweep.running[number] = time.monotonic() - state.seconds
        sweep.end_job(number, state.state, state.why)
        if state.state == FAILED:
            summary.add_failure(overrides, state.why, 1)
        elif state.state == PRUNED:
            summary.pruned += 1
        else:
            summary.done += 1
            summary.skipped += state.state == SKIPPED


def run_job_of_sweep(
    command: Command, settings: DictConfig, context: HydraContext, number: int, task: Callable[[DictConfig], None]
) -> None:
    """Run a job of a sweep as Hydra's launcher does."""
    assert command.composer is not None
    config = command.composer.launch_config(command.jobs[number].overrides)
    OmegaConf.copy_cache(from_config=settings, to_config=config)  # `${now:}` is the same time in the whole sweep
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        config.hydra.sweep.dir = settings.hydra.sweep.dir
    run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def make_task(
    job: Job, summary: JobSummary, sweep: Sweep | None = None, number: int = 0
) -> Callable[[DictConfig], None]:
    """Make the function that Hydra calls with its composed config; it runs the job with its checked config instead."""

    def task(_: DictConfig) -> None:
        if sweep is None:
            summary.run(job.task_overrides, lambda: job.config)
            return
        with sweep.show_job(number):
            summary.run(job.task_overrides, lambda: sweep.read_config(number))
            sweep.end_job(number, *summary.last)

    return task


@contextmanager
def _use_sweep_config(settings: DictConfig) -> Iterator[None]:
    """Inside this context, `${hydra:…}` refers to the sweep as a whole."""
    singleton = HydraConfig.instance()
    before = singleton.cfg
    singleton.set_config(settings)
    try:
        yield
    finally:
        singleton.cfg = before
