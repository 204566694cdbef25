"""How far a study is, from its folders alone: its launches, and what each run says of itself. Nothing is locked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import UserError
from headstart.storage import heartbeat, records
from headstart.storage.heartbeat import Life
from headstart.storage.journal import (
    DONE,
    FAILED,
    PRUNED,
    RUNNING,
    SKIPPED,
    STATES,
    WAITING,
    JobState,
    Launch,
    find_launches,
)
from headstart.storage.locks import read_owner

LOCK = ".lock"
CUT_OFF = "cut off"
STRONGEST = (DONE, PRUNED, RUNNING, SKIPPED, FAILED, WAITING)  # what counts of a job that two launches have


@dataclass(frozen=True)
class RunState:
    """What a run's folder says.

    Attributes:
        state: complete, running, failed, pruned, stopped (by a signal), cut off (its process died), or damaged.
        why: what it failed of, or why it was pruned.
        phase: the phase that it is in, such as `phase all, 2 of 2`.
    """

    folder: Path
    state: str
    why: str = ""
    phase: str = ""
    owner: str = ""
    accuracy: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Study:
    """The launches that count, each with the life of its process, and all runs."""

    folder: Path
    launches: list[tuple[Launch, Life]]
    runs: list[RunState]

    @property
    def runs_now(self) -> bool:
        """Whether a process works on the study."""
        return any(life.alive for _, life in self.launches) or any(run.state == RUNNING for run in self.runs)

    @property
    def jobs(self) -> list[JobState]:
        """The jobs of the launches, each once, however many launches have it."""
        best: dict[str, JobState] = {}
        for launch, life in self.launches:
            for job in launch.jobs:
                if job.state == RUNNING and not life.alive:
                    job.state = CUT_OFF
                other = best.get(job.run)
                if other is None or _rank(job) < _rank(other):
                    best[job.run] = job
        return list(best.values())

    @property
    def jobs_in_all(self) -> int:
        """How many jobs there are; without a launch, the runs count."""
        return len(self.jobs) or len(self.runs)

    @property
    def left(self) -> float | None:
        """The seconds that the launches still take; None if that is not known."""
        found = [launch.estimate_left(time.time()) for launch, life in self.launches if life.alive]
        known = [each for each in found if each is not None]
        return max(known) if known else None

    def count_jobs(self) -> dict[str, int]:
        """How many jobs are in each state; without a launch, how many runs are."""
        found = Counter([job.state for job in self.jobs] or [run.state for run in self.runs])
        return {state: found[state] for state in (*STATES, *sorted(set(found) - set(STATES)))}

    def failed_before_a_folder(self) -> list[JobState]:
        """The failed jobs that no run's folder tells of, because they failed before they had one, or were killed."""
        told = {run.why for run in self.runs}
        return [job for job in self.jobs if job.state == FAILED and not any(job.why and job.why in why for why in told)]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "study": self.folder.name,
            "folder": str(self.folder),
            "running": self.runs_now,
            "jobs": self.count_jobs() | {"all": self.jobs_in_all},
            "seconds_left": self.left if self.runs_now else None,
            "launches": [
                {"owner": launch.owner, "alive": life.alive, "ended": launch.ended} for launch, life in self.launches
            ],
            "runs": [vars(run) | {"folder": run.folder.name} for run in self.runs],
            "failed": [{"job": job.name, "why": job.why} for job in self.jobs if job.state == FAILED],
        }


def _rank(job: JobState) -> int:
    return STRONGEST.index(job.state) if job.state in STRONGEST else len(STRONGEST) - 2


def read_study(folder: Path) -> Study:
    """Read what a study's folder says now; of its launches those count that run, or else the newest."""
    launches = [(launch, launch.look()) for launch in find_launches(folder)]
    living = [pair for pair in launches if pair[1].alive]
    runs = [read_run(path) for path in sorted(folder.iterdir()) if is_run(path)]
    return Study(folder, living or launches[:1], runs)


def is_run(path: Path) -> bool:
    """Whether a folder of a study is that of a run."""
    if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
        return False
    return any((path / name).is_file() for name in (LOCK, "state.json", "result.json"))


def read_run(folder: Path) -> RunState:
    """Read what a run's folder says."""
    owner = read_owner(folder / LOCK)
    try:
        state, result = records.read_state(folder), records.read_result(folder)
    except UserError as error:
        return RunState(folder, "damaged", why=str(error))
    phase = f"phase {state['phase']}, {state['index'] + 1} of {state['of']}" if _knows_phase(state) else ""
    status, why = state.get("status"), str(state.get("error") or "").partition("\n")[0]
    if status in ("failed", "interrupted"):
        return RunState(folder, FAILED if status == "failed" else "stopped", why, phase)
    if status == PRUNED:
        return RunState(folder, PRUNED, why=read_pruning(state))
    if status == "completed" or (status is None and result is not None):
        with suppress(UserError, LookupError, TypeError):
            if result is not None:
                seconds = float(result["seconds"]["total"])
                return RunState(folder, "complete", accuracy=result.read_accuracy("test"), seconds=seconds)
        return RunState(folder, "damaged", why="its result.json is missing")
    if heartbeat.look(folder / LOCK, owner).alive:
        return RunState(folder, RUNNING, phase=phase, owner=owner)
    return RunState(folder, CUT_OFF, why="its process died; the same command goes on with it", phase=phase)


def read_pruning(state: Mapping[str, Any]) -> str:
    """Why a run was pruned, as its `state.json` says."""
    facts = state.get("pruned")
    return str(facts.get("text", "")) if isinstance(facts, Mapping) else ""


def _knows_phase(state: dict[str, Any]) -> bool:
    return isinstance(state.get("index"), int) and "phase" in state and "of" in state
