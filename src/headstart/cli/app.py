"""`headstart train`: check the whole command, then run its jobs.

Hydra's own app answers queries (`--help`, `--cfg`, `--info`, completion) and passes jobs to launchers and to optimizing
sweepers. The jobs of a plain command and of a plain sweep are composed once, by `headstart.preflight.command`, and go
directly to `headstart.train`, here, in the workers of Ray, or in jobs of Slurm.
"""

import io
import logging
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from headstart.cli import sharing
from headstart.cli.callbacks import FolderRefused
from headstart.cli.help import annotate
from headstart.cli.jobs import list_hydra_targets, run_jobs, run_sweep
from headstart.cli.summary import JobSummary
from headstart.cli.sweeper import CHOICE, hand_over
from headstart.config import resolvers
from headstart.config.validate import raise_if_any
from headstart.errors import UserError
from headstart.preflight.command import check_command, check_composed, examine
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import parse_arguments
from headstart.preflight.quoting import quote_arguments
from headstart.runtime import signals

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run `headstart train ARGV`; returns 0, 1 if a job failed, 2 for bad input.

    Raises:
        UserError: lists every problem of the command; no job has run.
    """
    register_resolvers()
    sys.argv = ["headstart", *argv]
    summary = JobSummary()
    try:
        if _is_query(parse_arguments(argv)):
            _answer(argv)
        else:
            with signals.raise_on_signals():
                _run(argv, summary)
    except signals.Stopped as stopped:
        log.error("headstart: %s; the same command goes on from there, and skips what is complete", stopped)
        return stopped.exit_code
    except FolderRefused as refused:
        raise refused.error from refused
    except SystemExit as stop:  # raised by the argument parser, and by Hydra after it has answered a query
        return 2 if stop.code == 1 else int(stop.code or 0)
    summary.show()
    return summary.code


def _run(argv: Sequence[str], summary: JobSummary) -> None:
    command = check_command(argv)
    try:
        if command.search is not None:
            from headstart.cli.search import run_search

            run_jobs(command, summary, run_search)
        elif command.listed:
            run_jobs(command, summary, run_sweep)
        else:
            words = quote_arguments(argv, command.sweep_in_files)
            if command.runs_all and not any(word.startswith("hydra/sweeper=") for word in words):
                words.append(CHOICE)
            sys.argv = ["headstart", *words]
            with hand_over([job.lines for job in command.jobs]):
                _run_hydra(lambda composed: _run_composed(composed, summary))
    except UserError:
        raise
    except Exception as error:
        if summary.failed:  # the error is already logged
            return
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        log.error("headstart: %s: %s; HEADSTART_DEBUG=1 shows the traceback", type(error).__name__, error)
        summary.code = 1


def _run_composed(composed: DictConfig, summary: JobSummary) -> float:
    """Run a job that Hydra composed; its launcher or sweeper gets the accuracy, or the error."""
    hydra_config: Any = HydraConfig.get()
    summary.shares = hydra_config.mode == RunMode.MULTIRUN

    def run() -> float:
        summary.held.clear()
        accuracy = summary.run(list(hydra_config.overrides.task), lambda: check_composed(composed))
        if isinstance(accuracy, Exception):
            raise accuracy
        return accuracy

    return sharing.run_after_others(run) if summary.shares else run()


def _is_query(arguments: Namespace) -> bool:
    """Whether the command line asks Hydra for information, or to repeat one of Hydra's own runs."""
    asked = (arguments.help, arguments.hydra_help, arguments.cfg, arguments.info, arguments.shell_completion)
    return any(asked) or arguments.experimental_rerun is not None


def _answer(argv: Sequence[str]) -> None:
    """Let Hydra answer a query; if it cannot, report what is wrong with the command."""
    with suppress(Exception):  # where the command cannot even be quoted, Hydra says why
        sys.argv = ["headstart", *quote_arguments(argv)]
    asks_for_help = parse_arguments(argv).help
    page = io.StringIO()
    try:
        with redirect_stdout(page) if asks_for_help else nullcontext():
            _run_hydra(lambda composed: None)
    except SystemExit:  # Hydra's end of an answer
        if text := page.getvalue():
            print(annotate(text), end="")
        raise
    except HydraException as error:
        raise_if_any(_find_problems(argv) or [str(error).strip() or type(error).__name__])
    except Exception as error:
        if isinstance(error, OSError):
            raise
        raise_if_any(_find_problems(argv) or [str(error).strip() or type(error).__name__])


def _find_problems(argv: Sequence[str]) -> list[str]:
    try:
        return examine(argv, libraries=False).problems
    except Exception:
        log.debug("the command cannot be diagnosed", exc_info=True)  # Hydra's own message is shown instead
        return []


def _run_hydra(task: Callable[[DictConfig], float | None]) -> None:
    app = hydra.main(
        config_path=str(resolvers.config_folder()), config_name="config", execution_whitelist=list_hydra_targets()
    )(task)
    with _raise_hydra_errors():
        app()


@contextmanager
def _raise_hydra_errors() -> Iterator[None]:
    """Let Hydra raise its errors; otherwise it prints a part of them and exits."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
