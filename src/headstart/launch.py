"""The Hydra app behind ``headstart train``: compose, validate, run job after job, and end with an honest exit code."""

import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from headstart import config as configs
from headstart import validate
from headstart.errors import UserError

log = logging.getLogger(__name__)


@dataclass
class Jobs:
    """How the jobs of one launch ended."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    code: int = 0


def main(argv: list[str]) -> int:
    """Run Hydra on ``argv``; returns 0, 1 if a job failed, 2 for bad input."""
    jobs = Jobs()
    configs.register()
    # Read when torch is loaded. By default its waiting threads spin for long, and two runs on 2 cores take many times
    # as long as one after the other; with this each trained 2.5 times as fast. Its cost to a lone run was within
    # the noise.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")

    def job(composed: DictConfig) -> float | None:
        return _job(composed, jobs)

    sys.argv = ["headstart", *argv]
    app = hydra.main(
        config_path=str(configs.folder()),
        config_name="config",
        execution_whitelist=["logging.*", *configs.ALLOWED_TARGETS],
    )(job)
    try:
        app()
    except SystemExit as stop:  # Hydra has said what is wrong with the command line or the config
        return 2 if stop.code == 1 else int(stop.code or 0)
    if jobs.failed and jobs.done + len(jobs.failed) > 1:
        log.error("%d of %d jobs failed:", len(jobs.failed), jobs.done + len(jobs.failed))
        for line in jobs.failed:
            log.error("  %s", line)
    return jobs.code


def _job(composed: DictConfig, jobs: Jobs) -> float | None:
    """One run; a failure is said and counted, and the sweep goes on. Returns validation accuracy, for sweepers."""
    hydra_config: Any = HydraConfig.instance().cfg
    overrides = list(OmegaConf.select(hydra_config, "hydra.overrides.task"))
    try:
        config = validate.load(composed)
        from headstart import train

        result = train.run(config, overrides)
    except Exception as error:
        if os.environ.get("HEADSTART_DEBUG"):
            raise
        log.error(
            "%s",
            f"headstart: {error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}",
        )
        if not isinstance(error, UserError):
            log.debug("traceback", exc_info=True)
            log.error("HEADSTART_DEBUG=1 shows the traceback")
        jobs.failed.append(
            f"{' '.join(overrides)}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )
        jobs.code = max(jobs.code, 2 if isinstance(error, UserError) else 1)
        plugins = [str(OmegaConf.select(hydra_config, f"hydra.{name}._target_")) for name in ("sweeper", "launcher")]
        if not all(".basic_" in name for name in plugins):
            raise  # an optimizer has to know that a trial failed, and so has a launcher in another process
        return None
    jobs.done += 1
    accuracy = result["val"]["accuracy"]
    return float(accuracy)
