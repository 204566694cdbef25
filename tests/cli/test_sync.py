"""`headstart sync` against a W&B server: each run once, whole, in its own state."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fork_server
from headstart.config.schema import LoggerConfig
from headstart.tracking.logger import RunLog
from headstart.tracking.wandb_recordings import find_recordings, is_uploaded
from wandb_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def record(folder: Path, *, epochs: range, done: bool) -> None:
    """One attempt of a run, offline."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").write_text("{}")
    about: dict[str, Any] = {"run_id": folder.name, "name": folder.name, "study": "demo", "job_type": "finetune"}
    settings = LoggerConfig(wandb=True, project="p", mode="offline", system=False)
    with RunLog(folder, settings, **about, config={"strategy": "finetune"}) as run_log:
        for epoch in epochs:
            run_log.log_epoch("all", epoch, epoch, train_loss=1 / epoch)
        if done:
            run_log.finish({"test": {"accuracy": 0.5}})


def sync(cwd: Path, server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "HOME": str(cwd)}
    return fork_server.run("sync", "demo", *options, cwd=cwd, env=kept | own)


def test_runs_are_uploaded_once_and_whole(tmp_path: Path, server: Server) -> None:
    """Of two runs, one was resumed, one was cut off; then there is nothing left to do."""
    study = tmp_path / "outputs" / "demo"
    record(study / "resumed", epochs=range(1, 3), done=False)
    record(study / "resumed", epochs=range(3, 4), done=True)
    record(study / "cut", epochs=range(1, 2), done=False)
    done = sync(tmp_path, server)
    assert done.returncode == 0, done.stderr
    assert "demo: uploaded 2 of 2 runs" in done.stdout
    assert [point["epoch"] for point in server.runs["resumed"].history] == [1, 2, 3]
    assert server.runs["resumed"].ended == [1, 0]
    assert server.runs["resumed"].summary["test/accuracy"] == 0.5
    assert [point["epoch"] for point in server.runs["cut"].history] == [1]
    assert server.runs["cut"].ended == [1]
    assert all(is_uploaded(find_recordings(study / name)[-1]) for name in ("resumed", "cut"))
    again = sync(tmp_path, server)
    assert "2 runs with a W&B recording, all uploaded" in again.stdout
    assert len(server.ended) == 3


@pytest.mark.slow
def test_what_the_server_does_not_take_is_said_and_left_for_the_next_time(tmp_path: Path, server: Server) -> None:
    record(tmp_path / "outputs" / "demo" / "one", epochs=range(1, 2), done=True)
    server.weather = "401"
    failed = sync(tmp_path, server)
    assert failed.returncode == 1
    assert "W&B did not take 1 run (one); start headstart sync demo again" in failed.stderr
    server.weather = "good"
    assert "uploaded 1 of 1 run" in sync(tmp_path, server).stdout


def test_without_a_key_it_says_so(tmp_path: Path, server: Server) -> None:
    record(tmp_path / "outputs" / "demo" / "one", epochs=range(1, 2), done=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"WANDB_BASE_URL": server.url, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    done = fork_server.run("sync", "demo", cwd=tmp_path, env=kept | own)
    assert done.returncode == 2
    assert "W&B has no API key: set WANDB_API_KEY" in done.stderr
