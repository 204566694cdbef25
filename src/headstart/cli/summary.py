"""How the jobs of a command ended: run one, say why it failed, count it."""

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field

from hydra.core.hydra_config import HydraConfig

from headstart.config.schema import RunConfig
from headstart.errors import Pruned, UserError, as_user_error
from headstart.runtime import shared
from headstart.storage.journal import DONE, FAILED, PRUNED, SKIPPED, WAITING
from headstart.storage.locks import HeldElsewhere

log = logging.getLogger(__name__)


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
    last: tuple[str, str] = (WAITING, "")  # how the job that has just been tried ended, and why it failed or was pruned

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
            shared.forget()
            failure = as_exception(error)
            self._count(overrides, failure)
            return failure
        self.done += 1
        self.skipped += result.skipped
        self.last = SKIPPED if result.skipped else DONE, ""
        return result.read_accuracy("val")

    def _count(self, overrides: list[str], error: Exception) -> None:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        failure = describe_failure(error)
        log.error("%s", failure.message)
        self.add_failure(overrides, failure.reason, failure.code)

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


@dataclass(frozen=True)
class Failure:
    """Why a job failed: in full, in one line, and the exit code that it gives to the command."""

    message: str
    reason: str
    code: int


def as_exception(error: Exception | SystemExit) -> Exception:
    """A job that calls `exit` has failed, and the others go on."""
    return RuntimeError(f"it called exit({error.code})") if isinstance(error, SystemExit) else error


def describe_failure(error: Exception) -> Failure:
    """Say why a job failed."""
    known = as_user_error(error)
    message = (
        f"headstart: {known}" if known else f"{type(error).__name__}: {error}\nHEADSTART_DEBUG=1 shows the traceback"
    )
    reason = str(known or error).partition("\n")[0] or type(error).__name__
    return Failure(message, reason, 2 if isinstance(error, UserError) else 1)


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
