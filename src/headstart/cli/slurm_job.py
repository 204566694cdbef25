"""What a job of Slurm's does: one job of a sweep. When it is asked to stop, it writes a checkpoint and goes on later.

Slurm asks when a job is preempted, and shortly before its time is up; `scancel --signal` does so by hand. All of them
are signals, at which the run stops at its next step. Then the job asks Slurm to run it once more, under the same number
and from the same folder. Slurm itself does so after a machine has failed.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cli import remote
from headstart.cli.remote import Ended, Setup
from headstart.cli.slurm_submit import call
from headstart.cli.summary import Failure
from headstart.distributed import machines, torchrun
from headstart.distributed.machines import Machines
from headstart.errors import UserError
from headstart.preflight.slurm import KEY
from headstart.runtime import signals
from headstart.storage import heartbeat
from headstart.storage.files import write_json
from headstart.storage.journal import FAILED, JOBS, NAME, RUNNING, WAITING

log = logging.getLogger(__name__)

TRIES, PAUSE = 10, 3.0  # to reach Slurm's controller, and seconds between them


@dataclass(frozen=True)
class SlurmJob:
    """One job of a sweep; submitit runs it on each machine that the job has.

    Attributes:
        launch: the folder of the launch; all machines see it.
        detached: whether the command does not wait, so that the jobs show signs of life of the launch.
        number: of the job in its sweep, from 0.
        config: checked, as plain containers.
    """

    setup: Setup
    launch: Path
    detached: bool
    number: int
    config: dict[str, Any]
    overrides: list[str]
    max_requeues: int

    def __call__(self) -> Ended:
        """Run the job, on the first machine, or its processes of another one.

        Raises:
            SystemExit: it is no other machine's turn to answer, or Slurm will run the job once more.
        """
        from submitit import JobEnvironment

        place, restarts = JobEnvironment(), _count_restarts()
        folder = self.launch / JOBS / f"{self.number}-{restarts}"
        here = Machines(tuple(place.hostnames), folder, self.setup.threads)
        if place.global_rank > 0:
            signals.ignore_signals()  # the first machine is asked too, and stops all
            self.setup.adopt()
            raise SystemExit(torchrun.follow(here, place.global_rank))
        signals.ignore_echoes(math.inf)  # Slurm may send several signals, for one stop
        began = time.time()
        try:
            with signals.raise_on_signals(), heartbeat.beat(self.launch / NAME) if self.detached else nullcontext():
                ended = self._run(here)
                if ended.state == FAILED:  # it may have been stopped where a library makes an error of that
                    signals.raise_if_stopped()
        except signals.Stopped as stopped:
            ended = self._stop(stopped, restarts)
        self.write(ended.state, seconds=time.time() - began, why=ended.why)
        return ended

    def _run(self, here: Machines) -> Ended:
        self.write(RUNNING, where=heartbeat.describe_process())
        try:
            with machines.lead(here):
                with signals.defer_signals():  # some libraries cannot be imported in two goes
                    self.setup.adopt()
                signals.raise_if_stopped()
                return remote.run(self.config, self.overrides, wait=True)
        except UserError as error:
            return _fail(str(error), code=2)

    def _stop(self, stopped: signals.Stopped, restarts: int) -> Ended:
        """Have Slurm run the job once more; returns only if it will not."""
        if restarts >= self.max_requeues:
            return _fail(f"{stopped} for the {restarts + 1}th time: {KEY}.max_requeues={self.max_requeues}")
        self.write(WAITING, why=str(stopped))
        if refusal := requeue():
            return _fail(f"{stopped}, and Slurm does not run it once more: {refusal}")
        log.info("%s: Slurm runs the job again, and it goes on from its checkpoint", stopped)
        raise SystemExit(stopped.exit_code)

    def write(self, state: str, **facts: Any) -> None:
        """Write how far the job is to its file in the launch's folder."""
        path = self.launch / JOBS / f"{self.number}.json"
        known = {"job": self.number, "state": state, "at": time.time(), "seconds": 0.0, "why": ""}
        write_json(path, known | {"restarts": _count_restarts()} | facts)


def _fail(why: str, code: int = 1) -> Ended:
    return Ended(FAILED, failure=Failure(f"headstart: {why}", why, code))


def _count_restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def name_job(environment: Mapping[str, str]) -> str:
    """This job's name, for Slurm's commands: of an array's last task, the number alone stands for the whole array."""
    names = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    array, task = (environment.get(name, "") for name in names)
    return f"{array}_{task}" if array and task else environment["SLURM_JOB_ID"]


def requeue() -> str:
    """Ask Slurm to run this job once more; returns why it will not, empty if it will."""
    job = name_job(os.environ)
    for _ in range(TRIES):  # its controller may be about to start again
        found = call("squeue", "--noheader", "--format=%T", f"--jobs={job}")
        if found.returncode == 0:
            break
        time.sleep(PAUSE)
    state = found.stdout.strip()
    if state != "RUNNING":  # `scancel` without a signal: the job is to end
        return f"the job is {state.lower() or 'unknown'} there" if found.returncode == 0 else found.stderr.strip()
    asked = call("scontrol", "requeue", job)
    return asked.stderr.strip() if asked.returncode else ""
