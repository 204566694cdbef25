"""Jobs of a sweep that run in other processes than the command's: what these are told, and how the jobs ended."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cli import sharing
from headstart.cli.progress import Sweep
from headstart.cli.summary import Failure, JobSummary, as_exception, describe_failure
from headstart.config import resolvers
from headstart.config.environment import hide
from headstart.config.schema import from_plain, to_plain
from headstart.errors import Pruned, UserError
from headstart.preflight.command import Job
from headstart.runtime import shared
from headstart.runtime.version import __version__
from headstart.storage.heartbeat import describe_process
from headstart.storage.journal import DONE, FAILED, PRUNED, SKIPPED, WAITING
from headstart.storage.locks import HeldElsewhere
from headstart.tracking.console import configure_logging

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where and how the jobs of a sweep run.

    Attributes:
        launcher: as in `hydra/launcher=`, for messages.
        folder: in which the command was given; relative paths count from there.
        path: where code of one's own is found.
        threads: of jobs that do not name theirs.
        version: of headstart.
    """

    launcher: str
    folder: Path
    path: Sequence[str]
    threads: int
    version: str = __version__

    def adopt(self) -> None:
        """Make this process like the one of the command.

        Raises:
            UserError: this machine lacks the folder of the command, or has another headstart.
        """
        me = f"hydra/launcher={self.launcher}: {describe_process()}"
        if self.version != __version__:
            raise UserError(f"{me} has headstart {__version__}, not {self.version}")
        try:
            os.chdir(self.folder)
        except OSError as error:
            why = f"cannot enter {self.folder}: {error.strerror}. All machines need the folder of the command"
            raise UserError(f"{me} {why}") from error
        sys.path += [folder for folder in self.path if folder not in sys.path]
        resolvers.register()
        configure_logging(quiet=False)
        import torch

        from headstart import train  # noqa: F401 - so that the first job takes as long as the others

        torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class Ended:
    """How a job ended: done, skipped, failed, pruned, or waiting: another process holds its run, or it was stopped."""

    state: str
    accuracy: float | None = None  # on the test images
    failure: Failure | None = None
    held_by: str = ""
    pruned: str = ""  # why

    @property
    def why(self) -> str:
        """Why it failed or was pruned."""
        return self.failure.reason if self.failure else self.pruned

    def count(self, sweep: Sweep, summary: JobSummary, number: int) -> None:
        """In the command's process, say and note that the job of this number ended so."""
        name = sweep.name_job(number)
        if self.failure is not None:
            log.error("%s  |  %s", name, self.failure.message)
            summary.add_failure(sweep.jobs[number].task_overrides, self.failure.reason, self.failure.code)
        sweep.end_job(number, self.state, self.why)
        if self.pruned:
            summary.pruned += 1
            sweep.log_state(name, self.pruned)
        if self.accuracy is not None:
            summary.done += 1
            summary.skipped += self.state == SKIPPED
            sweep.log_state(name, f"{self.state}: test accuracy {100 * self.accuracy:.1f} %")


def make_orders(job: Job) -> tuple[dict[str, Any], list[str]]:
    """What `run` is told of a job: its checked config without what came from the environment, and its overrides."""
    return hide(to_plain(job.config)), job.task_overrides


def run(config: dict[str, Any], overrides: list[str], wait: bool) -> Ended:
    """Run one job.

    Args:
        config: checked, as plain containers.
        wait: if another process holds the run, wait for it, and do what it leaves.

    Raises:
        Stopped: a stop was requested.
    """
    from headstart import train

    try:
        checked = from_plain(config)
        work = lambda: train.run(checked, overrides)  # noqa: E731
        result = sharing.run_after_others(work) if wait else work()
        return Ended(SKIPPED if result.skipped else DONE, result.read_accuracy("test"))
    except HeldElsewhere as error:
        return Ended(WAITING, held_by=f"{error.path.parent}: {error.owner}")
    except Pruned as verdict:
        return Ended(PRUNED, pruned=str(verdict))
    except (Exception, SystemExit) as error:
        shared.forget()
        return Ended(FAILED, failure=describe_failure(as_exception(error)))
