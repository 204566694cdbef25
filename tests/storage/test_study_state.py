"""What a study's folders say of its jobs, and how long the rest takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstart.cli.status import describe
from headstart.cli.status import main as status
from headstart.errors import UserError
from headstart.storage import heartbeat, journal
from headstart.storage.journal import DONE, FAILED, RUNNING, SKIPPED, JobState, Journal, Launch, add_times, read_launch
from headstart.storage.study_state import read_study

HERE = socket.gethostname()


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def make_jobs(number: int, kind: str = "a") -> list[JobState]:
    return [JobState(f"job {each}", f"run-{each}", kind, 10.0) for each in range(number)]


def make_run(study: Path, name: str, state: dict[str, object], owner: str, result: dict[str, object] | None = None):
    folder = study / name
    folder.mkdir(parents=True)
    (folder / ".lock").write_text(owner)
    (folder / "state.json").write_text(json.dumps(state))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_process_is_known_by_its_number_here_and_by_its_beats_elsewhere(tmp_path: Path, dead: int) -> None:
    file = tmp_path / "file"
    assert not heartbeat.look(file, f"pid {os.getpid()} on {HERE}").alive, "there is no file"
    file.touch()
    assert heartbeat.look(file, f"pid {os.getpid()} on {HERE}").alive
    assert not heartbeat.look(file, f"pid {dead} on {HERE}").alive
    assert heartbeat.look(file, f"pid {dead} on elsewhere").alive
    long_ago = time.time() - 2 * heartbeat.SILENT
    os.utime(file, (long_ago, long_ago))
    assert not heartbeat.look(file, "pid 1 on elsewhere").alive
    stopped = heartbeat.look(file, f"pid {os.getpid()} on {HERE}")
    assert stopped.alive
    assert stopped.silent > heartbeat.SILENT


def test_a_killed_process_whose_parent_has_not_looked_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True)"], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not heartbeat.look(tmp_path, f"pid {process.pid} on {HERE}").alive
    process.communicate()


def test_a_beat_renews_the_time_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (0, 0))
    with heartbeat.beat(file):
        while file.stat().st_mtime == 0:
            time.sleep(0.01)


def test_a_journal_is_read_as_it_was_written_even_if_it_is_cut_short(tmp_path: Path) -> None:
    with Journal(tmp_path).open(make_jobs(4)) as written:
        written.write(0, DONE, seconds=3.0)
        written.write(1, FAILED, why="RunFailed: the loss is NaN")
        written.write(2, RUNNING)
        with written.path.open("a") as file:
            file.write('{"job": 3, "sta')
        launch = read_launch(written.path)
        assert launch is not None
        assert [job.state for job in launch.jobs] == [DONE, FAILED, RUNNING, journal.WAITING]
        assert (launch.jobs[0].seconds, launch.jobs[1].why) == (3.0, "RunFailed: the loss is NaN")
        assert launch.look().alive
    ended = read_launch(written.path)
    assert read_launch(tmp_path / "none") is None
    assert ended is not None


def test_half_way_the_time_left_is_right_on_equal_jobs() -> None:
    """The first pays for imports and features; the trial before had guessed ten times too much."""
    jobs = make_jobs(8)
    for job in jobs:
        job.expected = 20.0
    taken = [9.0, 2.1, 1.9, 2.2]
    for job, seconds in zip(jobs, taken, strict=False):
        job.state, job.seconds = DONE, seconds
    left = Launch(Path(), "", 0.0, jobs).estimate_left(time.time())
    assert left == pytest.approx(4 * 2.0, rel=0.3)
    jobs[4].state, jobs[4].at = RUNNING, 100.0
    assert Launch(Path(), "", 0.0, jobs).estimate_left(101.5) == pytest.approx(3 * 2.1 + 0.6)


def test_jobs_of_which_nothing_is_known_count_as_the_others() -> None:
    assert add_times([2.0, 4.0, None]) == 9.0
    assert add_times([None]) is None
    assert add_times([None, None], [2.0, 4.0]) == 6.0, "those that have ended say more than nothing"
    assert add_times([0.0, None]) is None
    assert add_times([]) == 0.0


@pytest.fixture
def study(tmp_path: Path, dead: int) -> Path:
    """A study with one run of each state, and a launch that runs."""
    folder = tmp_path / "outputs" / "first"
    me, gone = f"pid {os.getpid()} on {HERE}", f"pid {dead} on {HERE}"
    at_work = {"status": "running", "phase": "all", "index": 1, "of": 2}
    make_run(
        folder,
        "a-1",
        {"status": "completed"},
        me,
        {"status": "completed", "test": {"accuracy": 0.5}, "seconds": {"total": 3}},
    )
    make_run(folder, "b-2", at_work, me)
    make_run(folder, "c-3", at_work, gone)
    make_run(folder, "d-4", {"status": "failed", "error": "RunFailed: the loss is NaN\nmore"}, gone)
    make_run(folder, "e-5", {"status": "interrupted", "error": "Stopped: SIGTERM"}, gone)
    make_run(folder, "f-6", {"status": 3}, gone)
    return folder


def test_each_run_says_how_it_is(study: Path) -> None:
    found = {run.folder.name: (run.state, run.why.partition("\n")[0]) for run in read_study(study).runs}
    assert {name: state for name, (state, _) in found.items()} == {
        "a-1": "complete", "b-2": "running", "c-3": "cut off", "d-4": "failed", "e-5": "stopped", "f-6": "damaged",
    }  # fmt: skip
    assert found["d-4"][1] == "RunFailed: the loss is NaN"
    said = "\n".join(describe(read_study(study)))
    assert "running  b-2  phase all, 2 of 2  |  pid" in said
    assert "cut off  c-3" in said
    assert "a-1" not in said, "complete ones are counted only"


def test_launches_give_the_counts_and_the_time_left(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = study / ".hydra" / "20261129"
    place.mkdir(parents=True)
    with Journal(place).open(make_jobs(6)) as written:
        written.write(0, DONE, seconds=4.0)
        written.write(1, SKIPPED)
        written.write(2, FAILED, why="no such file")
        written.write(3, RUNNING)
        first = describe(read_study(study))
        assert first[0].startswith("study first: 6 jobs: 1 done, 1 running, 1 failed, 1 skipped, 2 waiting  |  about ")
        assert first[1] == f"  launched by pid {os.getpid()} on {HERE}"
        assert first[-1] == "  failed   job 2  no such file"
        assert status(["first", "--output-dir", str(study.parent), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["jobs"] == {"all": 6, "done": 1, "running": 1, "failed": 1, "skipped": 1, "waiting": 2}
        assert 8 < said["seconds_left"] <= 12
        lines = written.path.read_text()
    assert "has ended" in describe(read_study(study))[1]
    written.path.write_text(lines.replace(f"pid {os.getpid()} on", "pid 4194304 on"))
    cut = describe(read_study(study))
    assert "1 cut off" in cut[0]
    assert "was cut off: the same command goes on" in cut[1]


def test_two_launches_of_one_study_count_each_job_once(study: Path) -> None:
    places = [study / ".hydra" / name for name in ("one", "two")]
    for place in places:
        place.mkdir(parents=True)
    with Journal(places[0]).open(make_jobs(3)) as one, Journal(places[1]).open(make_jobs(3)) as two:
        one.write(0, DONE, seconds=1.0)
        two.write(0, SKIPPED)
        two.write(1, RUNNING)
        assert read_study(study).count_jobs() == {"done": 1, "running": 1, "failed": 0, "skipped": 0, "waiting": 1}
    assert len(read_study(study).launches) == 1, "of those that have ended the newest counts"


@pytest.mark.parametrize("terminal", [False, True])
def test_watch_looks_again_until_nothing_runs(
    terminal: bool, study: Path, dead: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: float) -> None:
        (study / "b-2" / ".lock").write_text(f"pid {dead} on {HERE}")

    monkeypatch.setattr(time, "sleep", die)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert status(["first", "--output-dir", str(study.parent), "--watch"]) == 0
    first, second = capsys.readouterr().out.split("study first: ")[1:]
    assert "1 running" in first
    assert "2 cut off" in second
    assert ("\x1b[" in first) == terminal, "on a terminal the second stands in the place of the first"


def test_what_is_no_study_is_told(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean first"):
        status(["frist", "--output-dir", str(study.parent)])
    with pytest.raises(UserError, match="holds no study"):
        status(["--output-dir", str(tmp_path / "none")])


def test_status_imports_no_torch(study: Path) -> None:
    code = (
        "import sys; from headstart.cli.main import main\n"
        f"assert main(['status', '--output-dir', {str(study.parent)!r}]) == 0\n"
        "assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "study first: 6 jobs: " in done.stdout
