"""Sweeps on a real Slurm of this machine: jobs that fail, are killed, preempted, signalled, or run out of time."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import fork_server
from cli.engines import SMALL, count_attempts, read_results, wait_until
from slurm_cluster import NODES, Cluster, run_cluster

ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.partition=low")
# An optimizer whose steps take long until there is a file `hurry`, and one that kills its process.
OWN = """
import os, time
from pathlib import Path
from torch.optim import SGD
class Slow(SGD):
    def step(self, *args, **kwargs):
        time.sleep(0 if Path("hurry").exists() else 1)
        return super().step(*args, **kwargs)
class Killer(SGD):
    def step(self, *args, **kwargs):
        os.kill(os.getpid(), 9)
"""
SLOW = "imports=[own] optimizer._target_=own.Slow epochs=100"
LINES = f"""
- seed=0,1 {SLOW}
- seed=2 epochs=2 optimizer.lr=1e30
- seed=3 epochs=2 imports=[own] optimizer._target_=own.Killer
"""
# What Slurm leaves in the environment of a job, here of one that asked for other things
LEAKED = {
    "SLURM_JOB_ID": "1", "SLURM_NTASKS": "7", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "7", "SLURM_PROCID": "3",
    "SLURM_CPUS_PER_TASK": "9", "SLURM_CPU_BIND": "quiet,mask_cpu:0x1", "SLURM_JOB_NODELIST": "elsewhere",
    "SLURM_EXPORT_ENV": "NONE", "SLURM_DISTRIBUTION": "arbitrary", "SLURM_MEM_PER_CPU": "1",
    "CUDA_VISIBLE_DEVICES": "7",
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run_cluster() as running:
        yield running


def make_folder(folder: Path, *, hurry: bool = False) -> Path:
    folder.mkdir()
    (folder / "own.py").write_text(OWN)
    (folder / "lines.yaml").write_text(LINES)
    if hurry:
        (folder / "hurry").touch()
    return folder


def make_environment(cluster: Cluster) -> dict[str, str]:
    source = Path(__file__).parents[2] / "src"
    paths = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"SLURM_CONF": str(cluster.config), "PYTHONPATH": os.pathsep.join(paths)}


def read_job(folder: Path, number: int = 0) -> dict[str, Any]:
    """What a job of a launch says of itself."""
    for launch in folder.glob("outputs/*/.hydra/*/slurm"):
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((launch / f"{number}.json").read_text("utf-8"))
            return found
    return {"state": "waiting", "restarts": 0}


def find_array(folder: Path) -> str:
    """The number that Slurm gave a launch."""
    (script,) = folder.glob("outputs/*/.hydra/*/slurm/*_submission.sh")
    return script.name.partition("_")[0]


def count_epochs(folder: Path, seed: int) -> int:
    """How many epochs of a run are done."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(f"outputs/runs/*-s{seed}-*/metrics.csv"))


def start(folder: Path, *words: str, env: dict[str, str]) -> fork_server.Process:
    with (folder / "said").open("w") as said:
        return fork_server.start(*words, cwd=folder, env=env, output=(said.fileno(), said.fileno()))


@pytest.mark.slow
@pytest.mark.long
def test_jobs_that_are_stopped_go_on_and_others_fail_alone(cluster: Cluster, tmp_path: Path) -> None:
    """One job gets a signal, one is preempted, one runs out of time; one diverges, and one is killed."""
    alone, on_slurm, left = (
        make_folder(tmp_path / "alone", hurry=True),
        *map(make_folder, (tmp_path / "a", tmp_path / "b")),
    )
    env = make_environment(cluster)
    place = "hydra.launcher.sbatch=[--nodelist %s]"
    late = ("hydra.launcher.time=1", "hydra.launcher.warn=30", "hydra.launcher.detach=true", place % NODES[0])
    done = fork_server.run(*SMALL, *SLOW.split(), "seed=4", *ON_SLURM, *late, cwd=left, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "see how far they are: headstart status runs"
    words = (*SMALL, "--sweep", "lines.yaml", "logger=wandb", "logger.mode=offline")
    limits = ("hydra.launcher.at_once=3", place % NODES[1])
    process = start(on_slurm, *words, *ON_SLURM, *limits, env=env | LEAKED)
    wait_until(lambda: min(count_epochs(on_slurm, 0), count_epochs(on_slurm, 1)) > 2)
    array = find_array(on_slurm)
    cluster.call("scancel", "--signal=USR2", f"{array}_0")
    wait_until(lambda: read_job(on_slurm, 0)["state"] == "waiting")
    wait_until(lambda: "ended without an answer" in (on_slurm / "said").read_text())  # the fourth is not preempted
    cluster.call(
        "sbatch", "--partition=high", "--exclusive", f"--nodelist={NODES[1]}", "--output=/dev/null", "--wrap=:"
    )
    wait_until(lambda: read_job(on_slurm, 1)["restarts"] > 0)
    wait_until(lambda: read_job(left, 0)["restarts"] > 0)
    cluster.call("scontrol", "update", f"jobid={find_array(left)}", "timelimit=30")  # else a slow machine never ends
    for folder in (on_slurm, left):
        (folder / "hurry").touch()
    code = process.wait(300)
    said = (on_slurm / "said").read_text()
    assert code == 1, said
    wait_until(lambda: read_job(left, 0)["state"] in ("done", "failed"))
    (log,) = left.glob("outputs/runs/.hydra/*/slurm/*.out")
    assert "stopped by SIGUSR2: Slurm runs the job again" in log.read_text(), "what Slurm sends before the time is up"
    for command in (("--sweep", "lines.yaml"), (*SLOW.split(), "seed=4")):
        fork_server.run(*SMALL, *command, cwd=make_lines(alone))
    assert len(read_results(alone)) == 3
    assert read_results(on_slurm) | read_results(left) == read_results(alone)
    check_what_is_said(said.splitlines(), on_slurm)


def make_lines(folder: Path) -> Path:
    """Without the job that would kill this process."""
    (folder / "lines.yaml").write_text(LINES.partition("- seed=3")[0])
    return folder


def check_what_is_said(said: list[str], on_slurm: Path) -> None:
    def find(*words: str) -> str:
        return next(line for line in said if all(word in line for word in words))

    assert find("job 1 of 4", "stopped by SIGUSR2: it waits in Slurm's queue, to go on from its checkpoint")
    assert find("job 2 of 4", "stopped by SIGTERM: it waits in Slurm's queue")
    assert find("job 1 of 4", "goes on, start 2")
    assert find("job 3 of 4", "the validation loss is nan")
    dead = find("job 4 of 4", "ended without an answer (FAILED): see ")
    assert "Killed" in Path(dead.rpartition("see ")[2]).read_text(), "srun says that its process was killed"
    assert said[said.index("2 of 4 jobs failed:") + 1].startswith("  ")
    assert said[-2].endswith(": 2 done, 0 skipped as already complete, 2 failed")
    assert said[-1] == "compare them: headstart compare runs"
    (journal,) = on_slurm.glob("outputs/runs/.hydra/*/jobs.jsonl")
    states = [json.loads(line) for line in journal.read_text().splitlines()[1:-1]]
    running: set[int] = set()
    for state in states:
        running = running | {state["job"]} if state["state"] == "running" else running - {state["job"]}
        assert len(running) <= 3, "hydra.launcher.at_once"
    ids = [{path.name for path in folder.glob("offline-run-*/*.wandb")}
           for folder in on_slurm.glob("outputs/runs/*/wandb")]  # fmt: skip
    assert [len(each) for each in ids] == [1] * 4, "each run has one id in W&B"


@pytest.mark.slow
@pytest.mark.long
def test_a_run_on_two_machines_goes_on_and_never_begins_with_one(cluster: Cluster, tmp_path: Path) -> None:
    """A run of two machines is stopped and goes on; of another one, the second machine never comes."""
    alone, on_slurm, lacking = (
        make_folder(tmp_path / name, hurry=name == "alone") for name in ("alone", "both", "one")
    )
    env = make_environment(cluster)
    words = (*SMALL, *SLOW.split(), "epochs=60", "data.batch_size=6")
    two = (*ON_SLURM, "hardware.nodes=2")
    wrapper = lacking / "python.sh"
    wrapper.write_text(f'[ "$SLURM_PROCID" = 0 ] || exec sleep 600\nexec {sys.executable} "$@"\n')
    process = start(on_slurm, *words, *two, env=env)
    broken = start(lacking, *words, *two, f"hydra.launcher.python=bash {wrapper}", env=env)
    wait_until(lambda: count_epochs(on_slurm, 0) > 2)
    cluster.call("scancel", "--signal=TERM", find_array(on_slurm))
    wait_until(lambda: read_job(on_slurm, 0)["restarts"] > 0)
    (on_slurm / "hurry").touch()
    assert process.wait(200) == 0, (on_slurm / "said").read_text()
    check_a_stopped_command(cluster, make_folder(tmp_path / "ended"), env)
    assert broken.wait(200) == 1, (lacking / "said").read_text()
    said = (lacking / "said").read_text()
    assert f"{read_names(cluster)[1]} (machine 2) of 2 did not come to {read_names(cluster)[0]} within 40 s" in said
    assert not read_results(lacking)
    done = fork_server.run(*words, "hardware=ddp_cpu", "hardware.devices=2", cwd=alone)
    assert done.returncode == 0, done.stdout
    ((_, one),), ((_, both),) = read_results(alone).items(), read_results(on_slurm).items()
    assert both == one, "as two processes of one machine"
    assert count_attempts(on_slurm) == [2]


def check_a_stopped_command(cluster: Cluster, folder: Path, env: dict[str, str]) -> None:
    process = start(folder, *SMALL, *SLOW.split(), *ON_SLURM, "seed=5", env=env)
    wait_until(lambda: count_epochs(folder, 5) > 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM, (folder / "said").read_text()
    assert not cluster.call("squeue", "--noheader", f"--jobs={find_array(folder)}")
    (state,) = folder.glob("outputs/runs/*/state.json")
    assert json.loads(state.read_text())["status"] == "interrupted"


def read_names(cluster: Cluster) -> list[str]:
    """The nodes in Slurm's order."""
    return cluster.call("scontrol", "show", "hostnames", cluster.call("sinfo", "-h", "-o", "%N", "-p", "low")).split()
