"""A job that fails leaves the others running; its cause is said at once and at the end; only it runs again."""

from __future__ import annotations

import json
from pathlib import Path

import fork_server

SMALL = (
    "train", "model=lenet5", "hardware=cpu", "hardware.threads=1", "logger=csv", "data.image_size=32",
    "strategy=scratch", "data.train_per_class=4", "data.n_test=20", "augment=none",
)  # fmt: skip
LINES = """
- seed=0 epochs=1
- seed=1 epochs=3 optimizer.lr=1e30
- seed=2 epochs=1 data=csv data.source.path=lost.csv data.train_per_class=null data.n_test=null
- seed=3 epochs=1 label_smoothing=0.1
- seed=4 epochs=1
"""
NO_MEMORY = """
from headstart import train
work = train.work
def fill(config, *rest):
    if config.seed == 3:
        raise MemoryError("bad_alloc")
    return work(config, *rest)
train.work = fill
"""


def test_failures_of_all_kinds_leave_the_others_running_and_only_they_run_again(tmp_path: Path) -> None:
    (tmp_path / "lines.yaml").write_text(LINES)
    command = (*SMALL, "--sweep", "lines.yaml")
    done = fork_server.run(*command, cwd=tmp_path, before=NO_MEMORY)
    said = done.stdout.splitlines()
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(list(tmp_path.rglob("result.json"))) == 2
    table = said[said.index("3 of 5 jobs failed:") :]
    for seed, cause in ((1, "loss"), (2, "lost.csv"), (3, "out of memory")):
        starts = [place for place, line in enumerate(said) if line.startswith(f"job {seed + 1} of 5")]
        assert any(cause in line for line in said[starts[0] : starts[0] + 12]), "said when it happens"
        assert any(f"seed={seed}" in line and cause in line for line in table), "and at the end"
    assert said[-2].endswith(": 2 done, 0 skipped as already complete, 3 failed")
    (states,) = [path.read_text().splitlines() for path in tmp_path.glob("outputs/runs/.hydra/*/jobs.jsonl")]
    ends = [json.loads(line) for line in states if '"job"' in line and '"running"' not in line]
    assert [end["state"] for end in ends] == ["done", "failed", "failed", "failed", "done"]

    again = fork_server.run(*command, cwd=tmp_path)
    said = again.stdout.splitlines()
    assert again.returncode == 2
    assert said[0].startswith("5 jobs: 2 complete already, 3 to run")
    assert said[-2].endswith(": 1 done, 2 skipped as already complete, 2 failed"), "there is memory now"


def test_with_fail_fast_the_first_failed_job_is_the_last(tmp_path: Path) -> None:
    (tmp_path / "lines.yaml").write_text(LINES)
    done = fork_server.run(*SMALL, "--sweep", "lines.yaml", "fail_fast=true", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[-2].endswith(": 1 done, 0 skipped as already complete, 1 failed, 3 not run (fail_fast=true)")
    assert not any(line.startswith("job 3 of 5") for line in said)


LAUNCHER = """
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
class Other(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        print("launches", [" ".join(job) for job in job_overrides], flush=True)
        return super().launch(job_overrides, initial_job_idx)
"""
REGISTER = """
import sys
sys.path.insert(0, ".")
import lines_launcher
from hydra.core.plugins import Plugins
Plugins.instance().register(lines_launcher.Other)
"""


def test_another_launcher_gets_the_jobs_of_all_lines(tmp_path: Path) -> None:
    (tmp_path / "lines_launcher.py").write_text(LAUNCHER)
    (tmp_path / "own" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "own" / "hydra" / "launcher" / "other.yaml").write_text("_target_: lines_launcher.Other\n")
    lines = 'sweep=["seed=0","optimizer.lr=0.1,0.2"]'
    words = ("-m", "--config-dir=own", "hydra/launcher=other", "epochs=1", "seed=1", lines)
    done = fork_server.run(*SMALL, *words, cwd=tmp_path, before=REGISTER)
    assert done.returncode == 0, done.stdout + done.stderr
    (launched,) = [line for line in done.stdout.splitlines() if line.startswith("launches")]
    assert launched.count("model=lenet5") == 3
    assert all(rate in launched for rate in ("optimizer.lr=0.1", "optimizer.lr=0.2"))
    assert len(list(tmp_path.rglob("result.json"))) == 3
