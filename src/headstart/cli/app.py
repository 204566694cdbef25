"""The Hydra app behind ``headstart train``: compose, validate, run job after job, and end with an honest exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from headstart.cli import callbacks
from headstart.config import instantiate, resolvers, schema, validate
from headstart.errors import UserError, as_user_error
from headstart.runtime import signals
from headstart.storage import redact

log = logging.getLogger(__name__)


@dataclass
class Jobs:
    """How the jobs of one launch ended."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    code: int = 0


def main(argv: list[str]) -> int:
    """Run Hydra on ``argv``; returns 0, 1 if a job failed, 2 for bad input.

    Raises:
        UserError: lists everything that is wrong with the command; no job has run.
    """
    jobs = Jobs()
    resolvers.register()
    # Read when torch is loaded. By default its waiting threads spin for long, and two runs on 2 cores take many times
    # as long as one after the other; with this each trained 2.5 times as fast. Its cost to a lone run was within
    # the noise.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")

    def job(composed: DictConfig) -> float | None:
        return _job(composed, jobs)

    sys.argv = ["headstart", *argv]
    app = hydra.main(
        config_path=str(resolvers.config_folder()),
        config_name="config",
        execution_whitelist=["logging.*", *instantiate.ALLOWED_TARGETS],
    )(job)
    try:
        with signals.raise_on_signals(), _errors_raised():
            if {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(argv):
                validate.raise_if_any(_problems(argv, libraries=True))
            app()
    except callbacks.Refused as refused:
        validate.raise_if_any(_problems(argv, libraries=True) or refused.args[0])
    except signals.Stopped as stopped:
        log.error("headstart: %s; the same command goes on from there, and skips what is complete", stopped)
        return stopped.exit_code
    except callbacks.Ended as ended:
        raise ended.error from ended
    except SystemExit as stop:  # of the argument parser, and after an answer
        return 2 if stop.code == 1 else int(stop.code or 0)
    except UserError:
        raise
    except Exception as error:
        if jobs.failed:
            return jobs.code  # it has been said
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        if jobs.done or (isinstance(error, OSError) and not isinstance(error, HydraException)):
            log.error("headstart: %s: %s; HEADSTART_DEBUG=1 shows the traceback", type(error).__name__, error)
            return 1
        validate.raise_if_any(_problems(argv, libraries=False) or [str(error).strip() or type(error).__name__])
    if jobs.failed and jobs.done + len(jobs.failed) > 1:
        log.error("%d of %d jobs failed:", len(jobs.failed), jobs.done + len(jobs.failed))
        for line in jobs.failed:
            log.error("  %s", line)
    return jobs.code


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


def _problems(argv: list[str], *, libraries: bool) -> list[str]:
    from headstart.preflight import command

    try:
        return command.of_command(argv, libraries=libraries)
    except Exception:
        log.debug("the command cannot be diagnosed", exc_info=True)  # Hydra's own words are what is left
        return []


def _job(composed: DictConfig, jobs: Jobs) -> float | None:
    """One run; a failure is said and counted, and the sweep goes on. Returns validation accuracy, for sweepers."""
    hydra_config: Any = HydraConfig.instance().cfg
    overrides = list(OmegaConf.select(hydra_config, "hydra.overrides.task"))
    try:
        config = validate.load(composed)
        redact.refuse_secrets_in_config(schema.plain(config))
        from headstart import train

        result = train.run(config, overrides)
    except Exception as error:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        known = as_user_error(error)
        log.error("%s", f"headstart: {known}" if known else f"{type(error).__name__}: {error}")
        if known is None:
            log.error("HEADSTART_DEBUG=1 shows the traceback")
        said = str(known or error).partition("\n")[0] or type(error).__name__
        jobs.failed.append(f"{' '.join(overrides)}: {said}")
        jobs.code = max(jobs.code, 2 if isinstance(error, UserError) else 1)
        plugins = [str(OmegaConf.select(hydra_config, f"hydra.{name}._target_")) for name in ("sweeper", "launcher")]
        if not all(".basic_" in name for name in plugins):
            raise  # an optimizer has to know that a trial failed, and so has a launcher in another process
        return None
    jobs.done += 1
    accuracy = result["val"]["accuracy"]
    return float(accuracy)
