"""What a sweep is doing, as `headstart status` and a launch that goes on read it: `jobs.jsonl` in the sweep's folder.

The first line lists the jobs; then there is a line for each start and each end of a job, and one for the end of all.
Nothing here imports torch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

from headstart.errors import RunFailed, UserError
from headstart.storage import heartbeat
from headstart.storage.files import append_text
from headstart.storage.heartbeat import Life
from headstart.storage.redact import mask

NAME = "jobs.jsonl"
JOBS = "slurm"  # beside it: a folder with a file for each job that runs on Slurm, NUMBER.json
RUNNING, DONE, SKIPPED, FAILED, WAITING = "running", "done", "skipped", "failed", "waiting"
PRUNED = "pruned"
ENDED = (DONE, SKIPPED, FAILED, PRUNED)
STATES = (DONE, RUNNING, FAILED, SKIPPED, WAITING)


@dataclass
class JobState:
    """One job of a launch.

    Attributes:
        run: equal for jobs that are the same run.
        kind: equal for jobs that take equally long.
        expected: seconds, as they were estimated before the first job; None if nothing was known.
        why: what it failed of.
        values: of a trial of a search, what it chose.
    """

    name: str
    run: str
    kind: str
    expected: float | None = None
    state: str = WAITING
    at: float = 0.0  # when the state began, in seconds since 1970
    seconds: float = 0.0
    why: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Launch:
    """One launch of a sweep."""

    path: Path
    owner: str
    began: float
    jobs: list[JobState] = field(default_factory=list)
    ended: bool = False
    detached: bool = False  # its jobs were handed over to Slurm: each says in a file of its own how far it is

    def look(self) -> Life:
        """Whether its process still runs."""
        life = heartbeat.look(self.path, self.owner)
        return Life(life.owner, life.alive and not self.ended, life.silent)

    def estimate_left(self, now: float) -> float | None:
        """The seconds that its jobs still take, by those of like jobs; None if nothing is known of them."""
        taken: dict[str, list[float]] = {}
        for job in self.jobs:
            if job.state == DONE:
                taken.setdefault(job.kind, []).append(job.seconds)
        usual = {kind: median_low(seconds) for kind, seconds in taken.items()}
        left: list[float | None] = []
        for job in self.jobs:
            if job.state in ENDED:
                continue
            whole = usual.get(job.kind, job.expected)
            running = job.state == RUNNING and whole is not None
            left.append(max(0.0, whole - (now - job.at)) if running and whole is not None else whole)
        return add_times(left, usual.values())


def add_times(seconds: Sequence[float | None], others: Iterable[float] = ()) -> float | None:
    """The sum of times of which some are not known: these count as the mean of the rest.

    Args:
        others: count in that mean where all that are to be added are not known.

    Returns:
        None if nothing is known.
    """
    known = [each for each in seconds if each is not None]
    real = [each for each in known if each > 0] or list(others)
    if not real:
        return 0.0 if len(known) == len(seconds) else None
    return sum(known) + (len(seconds) - len(known)) * sum(real) / len(real)


class Journal:
    """Writes what a launch does; a disk that cannot be written does not stop the jobs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    @contextmanager
    def open(self, jobs: Sequence[JobState]) -> Iterator[Journal]:
        """Inside this context the launch shows signs of life."""
        self._list(jobs, heartbeat.describe_process())
        with heartbeat.beat(self.path):
            yield self
        self._write({"event": "end"})

    def hand_over(self, jobs: Sequence[JobState], owner: str) -> None:
        """Write the list of jobs that were handed over to another owner; nobody writes here any more."""
        self._list(jobs, owner, detached=True)

    def _list(self, jobs: Sequence[JobState], owner: str, **more: Any) -> None:
        facts = [{"name": job.name, "run": job.run, "kind": job.kind, "expected": job.expected} for job in jobs]
        self._write({"owner": owner, "began": time.time(), "jobs": facts} | more)

    def write(self, number: int, state: str, *, seconds: float = 0.0, why: str = "", **facts: Any) -> None:
        """Write the new state of a job, and what else is known of it by now; its number counts from 0."""
        line = {"job": number, "state": state, "at": time.time(), "seconds": round(seconds, 3), "why": why}
        self._write(line | facts)

    def _write(self, line: Mapping[str, Any]) -> None:
        with suppress(RunFailed, UserError, OSError):
            append_text(self.path, json.dumps(mask(dict(line))) + "\n")


def read_launch(path: Path) -> Launch | None:
    """Read a journal; None if it is not there or not readable. A line that a kill has cut short is left out."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
        head = json.loads(lines[0])
        jobs = [JobState(**job) for job in head["jobs"]]
        launch = Launch(path, str(head["owner"]), float(head["began"]), jobs, detached=bool(head.get("detached")))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    for number in range(len(jobs) if launch.detached else 0):
        with suppress(OSError):  # it has not begun
            lines.append((path.parent / JOBS / f"{number}.json").read_text("utf-8"))
    for line in lines[1:]:
        with suppress(ValueError, LookupError, TypeError):
            event = json.loads(line)
            if event.get("event") == "end":
                launch.ended = True
                continue
            job = launch.jobs[int(event["job"])]
            job.state, job.at, job.seconds, job.why = event["state"], event["at"], event["seconds"], event["why"]
            job.name, job.values = event.get("name", job.name), event.get("values", job.values)
    launch.ended |= launch.detached and all(job.state in ENDED for job in launch.jobs)
    return launch


def find_launches(study: Path) -> list[Launch]:
    """The launches of a study, the newest first."""
    found = [read_launch(path) for path in study.glob(f".hydra/*/{NAME}")]
    return sorted((launch for launch in found if launch), key=lambda launch: launch.began, reverse=True)
