"""What a process of Ray's does: one job of a sweep after the other, so that it imports and caches everything once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cli import sharing
from headstart.cli.summary import Failure, as_exception, describe_failure
from headstart.config import resolvers
from headstart.config.schema import from_plain
from headstart.errors import Pruned, UserError
from headstart.runtime import signals
from headstart.storage.heartbeat import describe_process
from headstart.storage.journal import DONE, FAILED, PRUNED, SKIPPED, WAITING
from headstart.storage.locks import HeldElsewhere
from headstart.tracking.console import configure_logging


@dataclass(frozen=True)
class Setup:
    """Where and how the jobs of a sweep run.

    Attributes:
        folder: in which the command was given; relative paths count from there.
        stop: a file in which the command asks its jobs to stop.
        path: where code of one's own is found.
        environment: the variables that `hydra.job.env_set` and `env_copy` name.
        threads: of jobs that do not name theirs.
        version: of headstart.
    """

    folder: Path
    stop: Path
    path: Sequence[str]
    environment: Mapping[str, str]
    threads: int
    version: str


@dataclass(frozen=True)
class Ended:
    """How a job ended: done, skipped, failed, pruned, or waiting: another process holds its run, or it was stopped."""

    state: str
    accuracy: float | None = None  # on the test images
    failure: Failure | None = None
    held_by: str = ""
    pruned: str = ""  # why


class Worker:
    """One process. Ray gives it its cores and GPUs for as long as it lives."""

    def prepare(self, setup: Setup) -> str:
        """Make this process like the one of the command; returns its number and its machine.

        Raises:
            UserError: this machine lacks the folder of the command, or has another headstart.
        """
        from headstart.runtime.version import __version__

        if setup.version != __version__:
            raise UserError(
                f"hydra/launcher=ray: {describe_process()} has headstart {__version__}, not {setup.version}"
            )
        os.environ |= setup.environment
        try:
            os.chdir(setup.folder)
        except OSError as error:
            why = f"{describe_process()} cannot enter {setup.folder}: {error.strerror}"
            raise UserError(f"hydra/launcher=ray: {why}. All machines need the folder of the command") from error
        sys.path += [folder for folder in setup.path if folder not in sys.path]
        signals.watch_stop_file(setup.stop)
        resolvers.register()
        configure_logging(quiet=False)
        import torch

        from headstart import train  # noqa: F401 - so that the first job takes as long as the others

        torch.set_num_threads(setup.threads)
        return describe_process()

    def run(self, config: dict[str, Any], overrides: list[str], wait: bool) -> Ended:
        """Run one job.

        Args:
            config: checked, as plain containers.
            wait: if another process holds the run, wait for it, and do what it leaves.
        """
        from headstart import train

        try:
            checked = from_plain(config)
            work = lambda: train.run(checked, overrides)  # noqa: E731
            result = sharing.run_after_others(work) if wait else work()
            return Ended(SKIPPED if result.skipped else DONE, result.read_accuracy("test"))
        except HeldElsewhere as error:
            return Ended(WAITING, held_by=f"{error.path.parent}: {error.owner}")
        except signals.Stopped:
            return Ended(WAITING)
        except Pruned as verdict:
            return Ended(PRUNED, pruned=str(verdict))
        except (Exception, SystemExit) as error:
            return Ended(FAILED, failure=describe_failure(as_exception(error)))
