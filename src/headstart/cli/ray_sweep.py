"""Run the jobs of a sweep on Ray: several at once, each in a worker, which runs one job after the other.

This process hands the jobs out and says how they end. The job of a worker that dies is handed to another one, where its
run goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.cli.progress import Sweep
from headstart.cli.ray_cluster import Place, Workers, choose_share, connect
from headstart.cli.ray_worker import Setup
from headstart.cli.remote import Ended, make_orders
from headstart.cli.summary import Failure, JobSummary, describe_failure
from headstart.config.words import count
from headstart.preflight.launcher import Ray
from headstart.runtime import signals
from headstart.storage.files import write_text
from headstart.storage.journal import FAILED, WAITING, Journal
from headstart.tracking import progress

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two looks for machines that have joined the cluster
GRACE = 30.0  # seconds in which jobs that are to stop may come to their next step
DEAD = "its worker, {}, has died (out of memory, killed, or its machine is gone)"


def run(sweep: Sweep, summary: JobSummary, settings: Ray, folder: Path, environment: Mapping[str, str]) -> None:
    """Run every job of a sweep, and count in `summary` how they ended.

    Args:
        folder: of this launch, for its journal.
        environment: variables that jobs get besides those of Ray's processes.

    Raises:
        UserError: there is no such cluster, or no machine of it is fit for the jobs.
        RunFailed: no worker starts.
        Stopped: a stop was requested; the jobs that ran have written a checkpoint, or were ended after `GRACE` seconds.
    """
    with connect(settings.address) as ray:
        share = choose_share(settings, ray.nodes(), [job.config for job in sweep.jobs])
        sweep.at_once = max(1, min(share.count_places(ray.nodes()), len(sweep.jobs)))
        sweep.announce()
        setup = Setup(
            launcher="ray",
            folder=Path.cwd(),
            path=sys.path,
            threads=max(1, int(share.cpus)),
            stop=folder.absolute() / "stop",
            environment=environment,
        )
        with Journal(folder).open(sweep.list_states()) as sweep.journal:
            jobs = Jobs(sweep, summary, Workers(ray, share, setup), settings.max_retries)
            with signals.defer_signals():  # an exception of a handler inside of Ray's C++ would become another one
                jobs.run_all()
                if signum := signals.requested_stop():
                    jobs.stop(signum, setup.stop)
                    raise signals.Stopped(signum)
    summary.closing = sweep.describe_end()


class Jobs:
    """The jobs of a sweep, by number: those that wait for a worker, those that run, those that another launch runs."""

    def __init__(self, sweep: Sweep, summary: JobSummary, workers: Workers, max_retries: int) -> None:
        self.sweep, self.summary, self.workers, self.max_retries = sweep, summary, workers, max_retries
        self.waiting = deque(range(len(sweep.jobs)))
        self.running: dict[Any, tuple[int, Place]] = {}  # by the reference to what `Worker.run` returns
        self.aside: list[int] = []
        self.patient = False  # whether only jobs are left that other launches run: then workers wait for these
        self.deaths: Counter[int] = Counter()  # of workers, by the job that they ran

    def run_all(self) -> None:
        """Hand out jobs until all have ended, a stop is requested, or one has failed and that is to end the sweep."""
        watch = progress.Watch("sweep", self.sweep.left, None, self.sweep.count_ended)
        with progress.watch_run(watch), progress.task("workers start") as shown:
            while self._has_jobs() and not signals.requested_stop():
                self.workers.start(len(self.waiting) + len(self.running), len(self.running))
                self._hand_out()
                if self.running:
                    shown.what = f"{count(len(self.running), 'job')} at work"
                self._wait(LOOK)

    def _has_jobs(self) -> bool:
        if not self.waiting and not self.running and self.aside:
            self.waiting, self.aside, self.patient = deque(self.aside), [], True
        if self.summary.failed and any(self.sweep.jobs[number].config.fail_fast for number in self.waiting):
            self.waiting.clear()
            self.aside.clear()
        return bool(self.waiting or self.running)

    def _hand_out(self) -> None:
        while self.waiting and self.workers.idle:
            number, place = self.waiting.popleft(), self.workers.idle.pop()
            job = self.sweep.jobs[number]
            self.running[place.actor.run.remote(*make_orders(job), self.patient)] = number, place
            self.sweep.begin_job(number)
            self.sweep.log_state(self._name(number), place.name)

    def _name(self, number: int) -> str:
        return self.sweep.name_job(number)

    def _wait(self, seconds: float) -> None:
        """Wait until a worker is ready or a job has ended, but not for long, and take note of it."""
        ready, _ = self.workers.ray.wait([*self.workers.starting, *self.running], num_returns=1, timeout=seconds)
        for reference in ready:
            if reference in self.workers.starting:
                self.workers.admit(reference)
            else:
                self._end(reference, *self.running.pop(reference))

    def _end(self, reference: Any, number: int, place: Place) -> None:
        errors = self.workers.ray.exceptions
        try:
            ended: Ended = self.workers.ray.get(reference)
        except errors.RayTaskError as error:
            ended = Ended(FAILED, failure=describe_failure(error.cause))
        except errors.RayError:
            self.workers.ray.kill(place.actor)  # where it only could not be reached
            ended = self._try_again(number, DEAD.format(place.name))
        else:
            self.workers.idle.append(place)
        if ended.held_by:
            self.aside.append(number)
            log.info("%s runs it; this launch goes on with the others", ended.held_by)
        ended.count(self.sweep, self.summary, number)

    def _try_again(self, number: int, why: str) -> Ended:
        """Put a job whose worker has died before those that wait, unless too many have."""
        self.deaths[number] += 1
        if self.deaths[number] > self.max_retries:
            return Ended(FAILED, failure=Failure(f"headstart: {why}", why, 1))
        self.waiting.appendleft(number)
        tries = f"retry {self.deaths[number]} of {self.max_retries}"
        log.warning("%s  |  %s: %s, from its checkpoint", self._name(number), why, tries)
        return Ended(WAITING)

    def stop(self, signum: int, file: Path) -> None:
        """Let the jobs that run write a checkpoint at their next step; those that take too long are ended."""
        write_text(file, str(signum))
        end = time.monotonic() + GRACE
        while self.running and time.monotonic() < end:
            time.sleep(LOOK)
            with suppress(Exception):  # of a worker that starts: the sweep ends in any case
                self._wait(0)
        file.unlink(missing_ok=True)
