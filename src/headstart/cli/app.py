"""`headstart train`: the command is checked whole, its jobs run one after the other, and the exit code is honest.

Hydra's own app answers what only asks (`--help`, `--cfg`, `--info`, completion), and hands the jobs to launchers
and optimizing sweepers; the jobs of a plain command and of a plain sweep go from `headstart.preflight.command` straight
to `headstart.train`, composed once.
"""

import logging
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from headstart.cli.callbacks import FolderRefused
from headstart.cli.jobs import WHITELIST, Tally, run_jobs
from headstart.config import resolvers
from headstart.config.validate import raise_if_any
from headstart.errors import UserError
from headstart.preflight.command import check_command, check_composed, examine
from headstart.preflight.hydra_internals import parse_arguments
from headstart.runtime import signals

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run `headstart train ARGV`; returns 0, 1 if a job failed, 2 for bad input.

    Raises:
        UserError: lists everything that is wrong with the command; no job has run.
    """
    resolvers.register()
    # Read when torch is loaded. By default its waiting threads spin for long, and two runs on 2 cores take many times
    # as long as one after the other; with this each trained 2.5 times as fast. Its cost to a lone run was within
    # the noise.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    sys.argv = ["headstart", *argv]
    tally = Tally()
    try:
        if _only_asks(parse_arguments(argv)):
            _answer(argv)
        else:
            with signals.raise_on_signals():
                _run(argv, tally)
    except signals.Stopped as stopped:
        log.error("headstart: %s; the same command goes on from there, and skips what is complete", stopped)
        return stopped.exit_code
    except FolderRefused as refused:
        raise refused.error from refused
    except SystemExit as stop:  # of the argument parser, and after an answer
        return 2 if stop.code == 1 else int(stop.code or 0)
    tally.show_failures()
    return tally.code


def _run(argv: Sequence[str], tally: Tally) -> None:
    command = check_command(argv)
    try:
        if command.sequential:
            run_jobs(command, tally)
        else:
            _hydra_app(lambda composed: _run_composed(composed, tally))
    except UserError:
        raise
    except Exception as error:
        if tally.failed:  # it has been said
            return
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        log.error("headstart: %s: %s; HEADSTART_DEBUG=1 shows the traceback", type(error).__name__, error)
        tally.code = 1


def _run_composed(composed: DictConfig, tally: Tally) -> float:
    """A job that Hydra composed, for its launcher or its sweeper, which has to know of a failure."""
    task: Any = HydraConfig.get().overrides.task
    accuracy = tally.run(list(task), lambda: check_composed(composed))
    if isinstance(accuracy, Exception):
        raise accuracy
    return accuracy


def _only_asks(arguments: Namespace) -> bool:
    """Whether the command line asks Hydra for information, or to go back to a run of its own."""
    asked = (arguments.help, arguments.hydra_help, arguments.cfg, arguments.info, arguments.shell_completion)
    return any(asked) or arguments.experimental_rerun is not None


def _answer(argv: Sequence[str]) -> None:
    """Have Hydra answer; where it cannot, say what is wrong with the command in our words."""
    try:
        _hydra_app(lambda composed: None)
    except HydraException as error:
        raise_if_any(_describe(argv) or [str(error).strip() or type(error).__name__])
    except Exception as error:
        if isinstance(error, OSError):
            raise
        raise_if_any(_describe(argv) or [str(error).strip() or type(error).__name__])


def _describe(argv: Sequence[str]) -> list[str]:
    try:
        return examine(argv, libraries=False).problems
    except Exception:
        log.debug("the command cannot be diagnosed", exc_info=True)  # Hydra's own words are what is left
        return []


def _hydra_app(task: Callable[[DictConfig], float | None]) -> None:
    app = hydra.main(
        config_path=str(resolvers.config_folder()), config_name="config", execution_whitelist=list(WHITELIST)
    )(task)
    with _errors_raised():
        app()


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Hydra raises what it would otherwise print in part and turn into an exit code."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
