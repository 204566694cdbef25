"""A sweep on Ray: real clusters of this machine, whose workers and nodes die while jobs run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import fork_server
from cli.engines import SMALL, count_attempts, count_begun, read_results, wait_until
from headstart.cli.progress import Sweep
from headstart.cli.ray_cluster import Share, choose_share, connect
from headstart.errors import UserError
from headstart.preflight import launcher
from headstart.preflight.command import examine
from headstart.preflight.launcher import Ray
from headstart.storage.journal import DONE, FAILED

ON_RAY = "hydra/launcher=ray"
# An optimizer that ends its process once, in the fifth epoch, after checkpoints.
KILLER = """
import os
from pathlib import Path
from torch.optim import SGD
class Killer(SGD):
    steps = 0
    def step(self, *args, **kwargs):
        Killer.steps += 1
        if Killer.steps == 5 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), 9)
        return super().step(*args, **kwargs)
"""
LINES = """
- seed=0,1,2 epochs=2
- seed=3 epochs=2 optimizer.lr=1e30
- seed=4 epochs=8 imports=[killer] optimizer._target_=killer.Killer
"""
NODES = [
    {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 2.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("override", "wish"),
    [
        ("num_cpus=0", "must be a number above 0, such as 1"),
        ("num_cpus=many", "must be a number above 0, such as 1"),
        ("num_gpus=1.5", "must be a share of one GPU, such as 0.5, or a whole number, or null"),
        ("num_gpus=-1", "must be a share of one GPU, such as 0.5, or a whole number, or null"),
        ("max_retries=0.5", "must be a whole number, at least 0"),
        ("address=7", "must be the address of a running cluster, such as auto or 10.0.0.1:6379, or null"),
    ],
)
def test_wrong_settings_are_named_with_what_they_must_be(override: str, wish: str) -> None:
    pytest.importorskip("ray", reason="an extra that not everybody has")
    problems = examine(["-m", ON_RAY, f"hydra.launcher.{override}", "seed=0,1"], libraries=False).problems
    assert problems == [f"hydra.launcher.{override}: {wish}"]


def test_a_missing_extra_and_a_sweeper_that_chooses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    command = examine(["-m", ON_RAY, "seed=0,1"], libraries=False)
    assert command.problems == ["hydra/launcher=ray: Ray is not installed: pip install 'headstart[ray]'"]
    assert command.listed
    chooses = list(launcher.find_problems(command.composer.launch_config(command.shared), runs_all=False))  # type: ignore[union-attr]
    assert "hydra/sweeper chooses its own" in chooses[1]


def test_jobs_take_gpus_where_there_are_some_and_only_if_they_may() -> None:
    jobs = [job.config for job in examine(["-m", "hardware.devices=1,2"], libraries=False, machine=False).jobs]
    on_cpu = [job.config for job in examine(["-m", "hardware=cpu", "seed=0,1"], libraries=False).jobs]
    assert choose_share(Ray(), NODES[:2], jobs) == Share(1, 2)
    assert choose_share(Ray(num_gpus=0.5), NODES[:2], jobs) == Share(1, 0.5)
    assert choose_share(Ray(), NODES[1:2], jobs) == choose_share(Ray(), NODES[:2], on_cpu) == Share(1, 0)
    assert Share(1, 0).count_places(NODES) == 6, "a node that is gone has no room"
    assert Share(1, 0.5).count_places(NODES) == 4
    assert Share(0.3, 0).count_places(NODES) == 13 + 6
    with pytest.raises(UserError, match=r"num_cpus=8 and num_gpus=0: this machine has 4 cores and 2 GPUs"):
        choose_share(Ray(num_cpus=8), NODES[:2], on_cpu)


@pytest.mark.parametrize(("address", "why"), [("127.0.0.1:1", "refused"), ("127.0.0.1:port", "invalid literal")])
def test_an_address_where_nobody_answers_is_refused_at_once(address: str, why: str) -> None:
    pytest.importorskip("ray", reason="an extra that not everybody has")
    with pytest.raises(UserError, match=rf"hydra\.launcher\.address={address}: no cluster .*{why}"), connect(address):
        pytest.fail("joined")


def test_the_time_left_is_shared_by_the_jobs_that_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.cli.forecast import Expected, Times

    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    jobs = examine(["-m", "seed=range(6)"], libraries=False).jobs
    sweep = Sweep(jobs, at_once=2)
    sweep.times, sweep.expected = Times(), [Expected(job.config, "a", rest=10.0) for job in jobs]
    assert sweep.left() == 30
    sweep.begin_job(0)
    sweep.begin_job(1)
    now = 104.0
    assert sweep.left() == 26
    sweep.end_job(0, FAILED)
    assert sweep.left() == (40 + 6) / 2
    for number in range(1, 6):
        sweep.running[number] = 94.0
        sweep.end_job(number, DONE)
    assert sweep.left() == 0


def test_ray_has_the_private_parts_that_are_replaced() -> None:
    """Where they are gone, Ray prints between the lines of a sweep, and asks clouds where it runs."""
    pytest.importorskip("ray", reason="an extra that not everybody has")
    from ray._private import node, worker

    assert callable(worker.print_to_stdstream)
    assert callable(node.Node.start_api_server)


@pytest.mark.slow
def test_a_sweep_on_two_workers_gives_the_results_of_one_after_the_other(tmp_path: Path) -> None:
    """One job fails, and one kills its worker: another worker goes on with it."""
    pytest.importorskip("ray", reason="an extra that not everybody has")
    alone, on_ray = tmp_path / "alone", tmp_path / "ray"
    for folder in (alone, on_ray):
        folder.mkdir()
        (folder / "killer.py").write_text(KILLER)
        (folder / "lines.yaml").write_text(LINES)
    (alone / "killed").touch()
    before = fork_server.run(*SMALL, "--sweep", "lines.yaml", cwd=alone)
    done = fork_server.run(*SMALL, "--sweep", "lines.yaml", ON_RAY, cwd=on_ray, timeout=600)
    said = done.stdout.splitlines()
    assert done.returncode == before.returncode == 1, done.stdout + done.stderr
    assert (on_ray / "killed").exists(), done.stdout + done.stderr
    assert len(read_results(on_ray)) == 4
    assert read_results(on_ray) == read_results(alone)
    assert count_attempts(on_ray) == [1, 1, 1, 1, 2]
    assert any(
        "job 5 of 5" in line and "has died" in line and "retry 1 of 3, from its checkpoint" in line for line in said
    )
    assert "(raylet)" not in done.stdout, "Ray's own words stand in no line of the sweep"
    assert any("goes on from epoch" in path.read_text("utf-8") for path in on_ray.glob("outputs/runs/*-s4-*/train.log"))
    assert any("job 4 of 5" in line and "loss" in line for line in said), "said when it happens"
    assert said[said.index("1 of 5 jobs failed:") + 1].startswith("  ")
    assert said[-2].endswith(": 4 done, 0 skipped as already complete, 1 failed")
    assert said[-1] == before.stdout.splitlines()[-1] == "compare them: headstart compare runs"
    (journal,) = on_ray.glob("outputs/runs/.hydra/*/jobs.jsonl")
    last = {line["job"]: line["state"] for line in map(json.loads, journal.read_text().splitlines()) if "job" in line}
    assert last == {0: "done", 1: "done", 2: "done", 3: "failed", 4: "done"}


@pytest.mark.slow
def test_a_stopped_sweep_leaves_checkpoints_and_the_same_command_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="an extra that not everybody has")
    alone, on_ray = tmp_path / "alone", tmp_path / "ray"
    alone.mkdir()
    on_ray.mkdir()
    words = (*SMALL, "seed=0,1,2", "epochs=100")
    before = fork_server.run(*words, cwd=alone)
    assert before.returncode == 0, before.stdout
    with (on_ray / "said").open("w") as said:
        process = fork_server.start(*words, ON_RAY, cwd=on_ray, output=(said.fileno(), said.fileno()))
        wait_until(lambda: count_begun(on_ray) == 2)
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    assert code == 128 + signal.SIGTERM, (on_ray / "said").read_text()
    states = [json.loads(path.read_text())["status"] for path in on_ray.glob("outputs/runs/*/state.json")]
    assert states == ["interrupted", "interrupted"]
    assert not list(on_ray.glob("outputs/runs/.hydra/*/stop"))
    after = fork_server.run(*words, ON_RAY, cwd=on_ray, timeout=600)
    assert after.returncode == 0, after.stdout + after.stderr
    assert read_results(on_ray) == read_results(alone)
    assert count_attempts(on_ray) == [1, 2, 2]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes with a core each."""
    pytest.importorskip("ray", reason="an extra that not everybody has")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.long
def test_a_node_that_is_removed_in_mid_job_costs_no_result(cluster: Any, tmp_path: Path) -> None:
    alone, on_ray = tmp_path / "alone", tmp_path / "ray"
    alone.mkdir()
    on_ray.mkdir()
    words = (*SMALL, "seed=0,1,2", "epochs=100")
    before = fork_server.run(*words, cwd=alone)
    assert before.returncode == 0, before.stdout
    command = [sys.executable, "-m", "headstart", *words, ON_RAY, f"hydra.launcher.address={cluster.address}"]
    with (on_ray / "said").open("w") as output:
        process = subprocess.Popen(command, cwd=on_ray, stdout=output, stderr=output, env=dict(os.environ))
        try:
            wait_until(lambda: count_begun(on_ray) == 2 or process.poll() is not None)
            (node,) = cluster.worker_nodes
            cluster.remove_node(node, allow_graceful=False)
            code = process.wait(400)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    said = (on_ray / "said").read_text()
    assert code == 0, said
    assert said.count("retry 1 of 3, from its checkpoint") == 1, said
    assert read_results(on_ray) == read_results(alone)
    assert count_attempts(on_ray) == [1, 1, 2]
