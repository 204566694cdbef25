"""The process that runs a sweep may be killed by a job: the others go on in a new one, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.cli import supervise
from headstart.storage.journal import JobState

# Stands for a sweep of three jobs: keeps a journal as one does; the second job kills its process.
SWEEP = """
import os, sys, time
from pathlib import Path
from headstart.cli import supervise
from headstart.storage.journal import JobState, Journal
code = supervise.run(sys.argv[1:])
if code is not None:
    sys.exit(code)
assert supervise.PLACE not in os.environ, "programs that a job starts are no child of the parent"
jobs = [JobState(f"job {number}", f"run-{number}", "a") for number in (1, 2, 3)]
place = Path(f"{os.getpid()}")
place.mkdir()
with Journal(place).open(jobs) as journal:
    ended = supervise.find_ended(jobs)
    for number, job in ended.items():
        journal.write(number, job.state, why=job.why)
    supervise.announce(journal.path)
    for number in range(3):
        if number not in ended:
            journal.write(number, "running")
            print("runs", number, flush=True)
            if number == 1 and "kill" in sys.argv:
                os.kill(os.getpid(), 9)
            if number == 1 and "vanish" in sys.argv:
                os._exit(1)
            if number == 1 and "wait" in sys.argv:
                time.sleep(60)
            journal.write(number, "done")
    print(*[f"{number} {job.state} {job.why}" for number, job in ended.items()], sep="; ")
supervise.tell_end()
sys.exit(1 if "fail" in sys.argv else 3)
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "sweep.py").write_text(SWEEP)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADSTART_")}
    return subprocess.Popen(
        [sys.executable, "sweep.py", "train", "-m", *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_after_a_job_that_kills_its_process_the_others_go_on(tmp_path: Path) -> None:
    said, errors = (parent := start(tmp_path, "kill")).communicate(timeout=120)
    assert parent.returncode == 3, errors
    cause = "its process was ended by SIGKILL (the system does so when memory runs out)"
    assert said.splitlines() == ["runs 0", "runs 1", "runs 2", f"0 done ; 1 failed {cause}"]
    assert errors.splitlines() == [f"headstart: job 2: {cause}; the others go on"]


@pytest.mark.parametrize("word", ["vanish", "fail"])
def test_a_process_that_ends_without_a_word_is_told_of(word: str, tmp_path: Path) -> None:
    _, errors = (parent := start(tmp_path, word)).communicate(timeout=120)
    assert parent.returncode == 1
    assert errors.splitlines() == ([f"headstart: {supervise.VANISHED}"] if word == "vanish" else [])


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_to_the_parent_ends_the_child_too(signum: int, code: int, tmp_path: Path) -> None:
    parent = start(tmp_path, "wait")
    assert parent.stdout is not None
    assert [parent.stdout.readline() for _ in range(2)] == ["runs 0\n", "runs 1\n"]
    parent.send_signal(signum)
    rest, _ = parent.communicate(timeout=60)  # ends when the child, which holds the pipe, has ended too
    assert rest == ""
    assert parent.returncode == code


@pytest.mark.parametrize(
    "words",
    [["train", "seed=1"], ["compare", "-m"], ["train", "-m", "--cfg", "job"], ["train", "-m", "--help"], []],
    ids=" ".join,
)
def test_what_is_no_sweep_runs_in_this_process(words: list[str]) -> None:
    assert supervise.run(words) is None


def test_without_a_parent_nothing_has_ended() -> None:
    assert supervise.find_ended([JobState("job 1", "run-1", "a")]) == {}


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_job_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(
        "import os\nfrom torch.optim import SGD\n"
        "class Killer(SGD):\n    def step(self, *_, **__):\n        os.kill(os.getpid(), 9)\n"
    )
    command = [
        sys.executable, "-m", "headstart", "train", "-m", "model=lenet5", "hardware=cpu", "logger=csv", "epochs=1",
        "data.image_size=32", "data.train_per_class=4", "data.n_test=20", "strategy=scratch",
        'sweep=["seed=0","imports=[killer] optimizer._target_=killer.Killer","seed=2"]',
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, timeout=600
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "its process was ended by SIGKILL" in done.stderr
    assert ": 2 done, 0 skipped as already complete, 1 failed" in done.stdout
    assert len(list(tmp_path.rglob("result.json"))) == 2
