"""Sweeps of W&B's own by the real commands: `wandb sweep` takes a file of conf/wandb_sweep, `wandb agent` runs it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.config import resolvers
from wandb_server import Server

WANDB = [sys.executable, "-m", "wandb"]
EPOCHS = 40
SMALL = (
    "hardware=cpu hardware.threads=1 data.image_size=32 data.n_test=40 model=timm model.name=test_resnet "
    f"model.weights=none epochs={EPOCHS} checkpoint_every=0"
).split()
PARAMETERS = {"strategy": "scratch", "data.train_per_class": 4, "patience": None, "optimizer": {"lr": 0.002}, "seed": 1}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def environment(tmp_path: Path, server: Server) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc"), "OMP_NUM_THREADS": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as in an active environment
    return kept | own | {"PATH": path, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40}


def command(run_id: str, parameters: dict[str, Any], kind: str = "run") -> dict[str, Any]:
    """What the server tells an agent."""
    args = {name: {"value": value} for name, value in parameters.items()}
    return {"type": kind, "run_id": run_id, "program": "headstart", "args": args}


def create_sweep(tmp_path: Path, variables: dict[str, str]) -> str:
    """Have `wandb sweep` create the grid of conf/wandb_sweep, on a small network; returns the command that it names."""
    sweep = yaml.safe_load((resolvers.config_folder() / "wandb_sweep" / "grid.yaml").read_text("utf-8"))
    sweep["command"][2:2] = SMALL
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(sweep), "utf-8")
    line = [*WANDB, "sweep", "--project", "p", "grid.yaml"]
    done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.rpartition("wandb agent ")[2].split()[0]


def stop_when_it_learns(agent: subprocess.Popen[str], folder: Path) -> None:
    """Send SIGTERM to the run of an agent, as a cluster does, once two epochs are over."""
    limit = time.monotonic() + 90
    while sum(path.read_text("utf-8").count("\n") for path in folder.glob("*/metrics.csv")) < 3:
        assert agent.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (run,) = [pid for pid in children if b"headstart" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(run), signal.SIGTERM)


@pytest.mark.slow
def test_a_run_is_preempted_comes_back_with_its_whole_config_and_is_asked_for_once_more(
    tmp_path: Path, server: Server
) -> None:
    variables = environment(tmp_path, server)
    sweep = create_sweep(tmp_path, variables)
    server.commands = [command("first", PARAMETERS)]
    agent = subprocess.Popen(
        [*WANDB, "agent", sweep],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    study = tmp_path / "outputs" / "wandb_grid"
    stop_when_it_learns(agent, study)
    said, _ = agent.communicate(timeout=90)
    assert "stopped by SIGTERM" in said
    first = server.runs["first"]
    assert first.preempting
    assert first.ended == [255]
    (folder,) = study.glob("test_resnet-scratch-digits-s1-*")
    assert not (folder / "result.json").exists()

    whole = {name: node["value"] for name, node in json.loads(first.about["config"]).items()}
    assert {"_wandb", "model", "strategy", "lr"} < set(whole)
    server.commands = [command("first", whole, "resume"), command("second", PARAMETERS)]
    done = subprocess.run(
        [*WANDB, "agent", sweep], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(study.glob("test_resnet-*")) == [folder]
    result = json.loads((folder / "result.json").read_text())
    assert result["attempts"] == 2
    assert result["wandb_id"] == "first"
    with (folder / "metrics.csv").open(newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == [str(epoch + 1) for epoch in range(EPOCHS)]
    assert yaml.safe_load((folder / "config.yaml").read_text())["patience"] is None
    assert f"{folder.name} is complete" in done.stdout
    for run in (first, server.runs["second"]):
        assert run.ended[-1] == 0
        assert run.summary["val/accuracy"] == result["val"]["accuracy"]
        assert [point["epoch"] for point in run.history if "val/accuracy" in point] == list(range(1, EPOCHS + 1))
        assert run.config["data.train_per_class"] == 4
        assert run.config["strategy"] == "scratch"
        assert run.config["attempts"] == 2
