"""How jobs are handed to workers, without Ray: what a worker answers, and when it dies, is written down beforehand."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.cli.progress import Sweep
from headstart.cli.ray_cluster import Place
from headstart.cli.ray_sweep import Jobs
from headstart.cli.ray_worker import Ended
from headstart.cli.summary import Failure, JobSummary
from headstart.preflight.command import examine
from headstart.storage.journal import DONE, FAILED, PRUNED, WAITING

FINE = Ended(DONE, 0.5)
BAD = Ended(FAILED, failure=Failure("headstart: data.root: no such folder\nmake it", "data.root: no such folder", 2))
BEHIND = Ended(PRUNED, pruned="pruned after epoch 3 of 8 of phase all (prune=median)")
HELD = Ended(WAITING, held_by="outputs/runs/a: pid 7 on elsewhere")


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


DIES = RayError("the actor died")


class Scripted:
    """Stands for Ray and its workers: each call of `run` gets the next answer of its job, by its seed.

    Attributes:
        calls: (seed, whether the worker waits for other launches), in their order.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, answers: dict[int, list[Any]], places: int) -> None:
        self.answers = {seed: deque(given) for seed, given in answers.items()}
        self.calls: list[tuple[int, bool]] = []
        self.ray, self.starting, self.places = self, {}, places
        self.idle: list[Place] = []

    def start(self, jobs: int, at_work: int) -> None:
        for _ in range(min(jobs, self.places) - at_work - len(self.idle)):
            self.idle.append(Place(SimpleNamespace(run=SimpleNamespace(remote=self.remote)), "pid 1 on here"))

    def remote(self, config: dict[str, Any], overrides: list[str], wait: bool) -> object:
        self.calls.append((config["seed"], wait))
        return SimpleNamespace, len(self.calls), self.answers[config["seed"]].popleft()

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Ended:
        if isinstance(reference[2], Exception):
            raise reference[2]
        return reference[2]

    def kill(self, actor: Any) -> None:
        pass


def run(answers: dict[int, list[Any]], *words: str, places: int = 1) -> tuple[JobSummary, Scripted, Sweep]:
    sweep = Sweep(examine(["-m", f"seed=range({len(answers)})", *words], libraries=False).jobs)
    summary, scripted = JobSummary(), Scripted(answers, places)
    jobs: Any = Jobs(sweep, summary, scripted, max_retries=2)  # type: ignore[arg-type]
    jobs.run_all()
    return summary, scripted, sweep


def test_all_jobs_run_and_a_failed_one_is_counted_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    summary, scripted, sweep = run({0: [FINE], 1: [BAD], 2: [FINE]}, places=2)
    assert sorted(scripted.calls) == [(0, False), (1, False), (2, False)]
    assert (summary.done, summary.code, summary.failed) == (2, 2, ["seed=1: data.root: no such folder"])
    assert sweep.ended == {0: DONE, 1: FAILED, 2: DONE}
    assert "make it" in caplog.text, "all of it when it happens"


def test_a_pruned_job_is_counted_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    summary, scripted, sweep = run({0: [BEHIND], 1: [FINE]}, "fail_fast=true")
    assert scripted.calls == [(0, False), (1, False)]
    assert (summary.done, summary.pruned, summary.code, summary.failed) == (1, 1, 0, [])
    assert sweep.ended == {0: PRUNED, 1: DONE}
    assert "1 done, 0 skipped as already complete, 0 failed, 1 pruned" in sweep.describe_end()[0]
    assert "pruned after epoch 3 of 8" in caplog.text


def test_with_fail_fast_no_job_begins_after_the_first_failure() -> None:
    summary, scripted, sweep = run({0: [BAD], 1: [FINE], 2: [FINE]}, "fail_fast=true")
    assert scripted.calls == [(0, False)]
    assert sweep.ended == {0: FAILED}
    assert summary.code == 2


def test_a_job_whose_workers_keep_dying_fails_after_its_retries(caplog: pytest.LogCaptureFixture) -> None:
    summary, scripted, _ = run({0: [DIES, DIES, DIES], 1: [DIES, FINE]})
    assert [seed for seed, _ in scripted.calls] == [0, 0, 0, 1, 1], "at once, before those that wait"
    assert summary.done == 1
    (failed,) = summary.failed
    assert failed == "seed=0: its worker, pid 1 on here, has died (out of memory, killed, or its machine is gone)"
    retries = [record.getMessage() for record in caplog.records if "retry" in record.getMessage()]
    assert [line.rpartition(": ")[2] for line in retries] == [
        "retry 1 of 2, from its checkpoint",
        "retry 2 of 2, from its checkpoint",
        "retry 1 of 2, from its checkpoint",
    ]


def test_a_job_that_another_launch_runs_comes_last_and_waits_for_it() -> None:
    summary, scripted, sweep = run({0: [HELD, FINE], 1: [FINE]})
    assert scripted.calls == [(0, False), (1, False), (0, True)]
    assert summary.done == 2
    assert sweep.ended == {0: DONE, 1: DONE}
