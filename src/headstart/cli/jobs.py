"""Run the jobs of a checked command, one after the other in this process; a failed job does not stop the others."""

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext
from hydra.utils import execution_whitelist
from omegaconf import DictConfig, OmegaConf, open_dict

from headstart.cli import sharing, supervise
from headstart.cli.progress import Sweep
from headstart.config import own_code
from headstart.config.schema import RunConfig
from headstart.errors import Pruned, UserError, as_user_error
from headstart.preflight.command import Command, Job
from headstart.storage.journal import DONE, FAILED, PRUNED, SKIPPED, WAITING, Journal
from headstart.storage.locks import HeldElsewhere

log = logging.getLogger(__name__)
RunSweep = Callable[[Command, DictConfig, HydraContext, "JobSummary"], None]

# What Hydra itself may build from a config: log handlers, our formatter and our callback.
HYDRA_TARGETS = ("logging.*", "headstart.storage.redact.Formatter", "headstart.cli.callbacks.Folders")


@dataclass
class JobSummary:
    """How the jobs of one command ended."""

    done: int = 0
    skipped: int = 0  # of those done: already complete
    pruned: int = 0
    failed: list[str] = field(default_factory=list)
    code: int = 0
    closing: list[str] = field(default_factory=list)  # what is said after the last job of a sweep
    shares: bool = False  # whether other launches may run some of the jobs: in a sweep
    held: list[HeldElsewhere] = field(default_factory=list)  # of the job that has just been tried
    last: tuple[str, str] = (WAITING, "")  # how the job that has just been tried ended, and why it failed

    def run(self, overrides: list[str], config: Callable[[], RunConfig]) -> float | Exception:
        """Run one job; returns its validation accuracy, or the error, which is logged and counted.

        A run that was pruned returns the best score that it had.

        Args:
            config: returns the job's checked config.
        """
        try:
            with _work_where_the_command_was_given():
                checked = config()
                from headstart import train

                result = train.run(checked, overrides)
        except HeldElsewhere as error:
            if self.shares:
                self.held.append(error)
                self.last = WAITING, ""
            else:
                self._count(overrides, error)
            return error
        except Pruned as error:
            log.info("  %s", error)
            self.pruned += 1
            self.last = PRUNED, str(error)
            return error.score
        except (Exception, SystemExit) as error:
            failure = RuntimeError(f"it called exit({error.code})") if isinstance(error, SystemExit) else error
            self._count(overrides, failure)
            return failure
        self.done += 1
        self.skipped += result.skipped
        self.last = SKIPPED if result.skipped else DONE, ""
        return result.read_accuracy("val")

    def _count(self, overrides: list[str], error: Exception) -> None:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        known = as_user_error(error)
        log.error("%s", f"headstart: {known}" if known else f"{type(error).__name__}: {error}")
        if known is None:
            log.error("HEADSTART_DEBUG=1 shows the traceback")
        reason = str(known or error).partition("\n")[0] or type(error).__name__
        self.add_failure(overrides, reason, 2 if isinstance(error, UserError) else 1)

    def add_failure(self, overrides: list[str], reason: str, code: int) -> None:
        """Count a failed job; its reason stands in the table at the end."""
        self.failed.append(f"{' '.join(overrides)}: {reason}")
        self.code = max(self.code, code)
        self.last = FAILED, reason

    def show(self) -> None:
        """Log how the jobs ended, if there were several: which failed, and why; how all can be compared."""
        if self.failed and self.done + len(self.failed) > 1:
            log.error("%d of %d jobs failed:", len(self.failed), self.done + len(self.failed))
            for line in self.failed:
                log.error("  %s", line)
        for line in self.closing:
            log.info("%s", line)


def list_hydra_targets() -> list[str]:
    """What Hydra itself may build: as `headstart.config.instantiate`, also what packages of one's own define."""
    return [*HYDRA_TARGETS, *(f"{package}.*" for package in own_code.packages())]


@contextmanager
def _work_where_the_command_was_given() -> Iterator[None]:
    """Undo `hydra.job.chdir=true`: relative paths count from the folder of the command, and the run has its own."""
    hydra = HydraConfig.get()
    if not hydra.job.chdir:
        yield
        return
    log.info(
        "hydra.job.chdir=true has no effect: a run has a folder of its own, and paths count from %s", hydra.runtime.cwd
    )
    with chdir(hydra.runtime.cwd):
        yield


def run_jobs(command: Command, summary: JobSummary, run_sweep: RunSweep) -> None:
    """Run every job as Hydra's own launcher does: with Hydra's logging, callbacks, environment and folder."""
    assert command.loader is not None
    assert command.composer is not None
    whitelist = list_hydra_targets()
    with execution_whitelist(whitelist):
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
    """Run the jobs of a sweep, one after the other."""
    sweep = Sweep(command.jobs, command.repeated)
    sweep.announce()
    summary.shares = True
    with Journal(Path(settings.hydra.sweep.dir)).open(sweep.list_states()) as sweep.journal:
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
        sweep.job_began = time.monotonic() - state.seconds
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
