"""What a sweep says before, between and after its jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fork_server
from headstart.cli.forecast import Times, expect_jobs

SMALL = ("model=lenet5", "hardware=cpu", "hardware.threads=1", "logger=csv", "data.image_size=32", "epochs=1")
FEW = ("data.train_per_class=4", "data.n_test=20", "strategy=scratch", "-m")


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., list[str]]:
    def run(*words: str, code: int = 0) -> list[str]:
        done = fork_server.run("train", *SMALL, *FEW, *words, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


def test_a_sweep_says_what_it_does_and_equal_facts_once(sweep, tmp_path: Path) -> None:
    said = sweep("seed=0,1")
    assert said[0].startswith("2 jobs: 0 complete already, 2 to run, in about ")
    assert said[0].endswith("(judging from a trial of two steps of 1 network)")
    starts = [line for line in said if line.startswith("job ")]
    assert starts[0].startswith("job 1 of 2  scratch  seed 0  |  about ")
    assert starts[1].startswith("job 2 of 2  scratch  seed 1")
    assert sum("classes, 30 train" in line for line in said) == 1
    assert sum("test accuracy" in line for line in said) == 2
    assert said[-2].endswith(": 2 done, 0 skipped as already complete, 0 failed")
    assert said[-1] == "compare them: headstart compare runs"
    logs = list(tmp_path.glob("outputs/runs/*/train.log"))
    assert [("classes, 30 train" in log.read_text(), "phase  depth" in log.read_text()) for log in logs] == [
        (True, True)
    ] * 2
    assert len(list(tmp_path.glob("outputs/.cache/trial/*.json"))) == 1

    said = sweep("seed=0,1")
    assert said[0] == "2 jobs: 2 complete already, 0 to run"
    assert ": 0 done, 2 skipped as already complete, 0 failed" in said[-2]


def test_a_run_of_another_config_is_not_that_of_a_job(run_small) -> None:
    from conftest import SMALL as KEYS
    from conftest import compose

    small = ("model=lenet5", "strategy=scratch", "epochs=1")
    result = run_small(*small)
    home = f"output_dir={result['folder'].parents[1]}"
    same, seed, rate, again = (
        compose(*KEYS, home, *small, *more) for more in ([], ["seed=1"], ["optimizer.lr=0.1"], ["rerun=true"])
    )
    times = Times()
    jobs = expect_jobs([same, seed, rate, again], times)
    assert [job.complete for job in jobs] == [True, False, False, False]
    assert len({job.kind for job in jobs}) == 1, "seeds and rates change no time"
    assert times.expect(jobs[1]) == result["seconds"]["total"]
    assert times.expect(jobs[0]) == 0


def test_failures_stand_in_the_summary(sweep, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("path,label\na.png,cat\n")
    said = sweep(
        "data=csv", f"data.source.path={broken}", "data.train_per_class=null", "data.n_test=null", "seed=0,1", code=2
    )
    assert "2 of 2 jobs failed:" in said
    assert said[-1].endswith(": 0 done, 0 skipped as already complete, 2 failed")
    assert Path(broken).exists()
