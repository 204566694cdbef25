"""What a process of Ray's does: one job of a sweep after the other, so that it imports and caches everything once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cli import remote
from headstart.cli.remote import Ended
from headstart.runtime import shared, signals
from headstart.storage.heartbeat import describe_process
from headstart.storage.journal import WAITING


@dataclass(frozen=True, kw_only=True)
class Setup(remote.Setup):
    """Where and how the jobs of a sweep run.

    Attributes:
        stop: a file in which the command asks its jobs to stop.
        environment: the variables that `hydra.job.env_set` and `env_copy` name.
    """

    stop: Path
    environment: Mapping[str, str]


class Worker:
    """One process. Ray gives it its cores and GPUs for as long as it lives."""

    def prepare(self, setup: Setup) -> str:
        """Make this process like the one of the command; returns its number and its machine.

        Raises:
            UserError: this machine lacks the folder of the command, or has another headstart.
        """
        os.environ |= setup.environment
        signals.watch_stop_file(setup.stop)
        setup.adopt()
        shared.begin()
        return describe_process()

    def run(self, config: dict[str, Any], overrides: list[str], wait: bool) -> Ended:
        """Run one job, as `headstart.cli.remote.run`."""
        try:
            return remote.run(config, overrides, wait)
        except signals.Stopped:
            return Ended(WAITING)
