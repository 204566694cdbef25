"""A run in W&B's own server over its attempts: each epoch once, its state, its numbers, no traces of what is over."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.config.schema import LoggerConfig
from headstart.runtime.signals import Stopped
from headstart.tracking.logger import RunLog
from headstart.tracking.wandb_recordings import SYNCED, find_recordings, find_waiting, is_uploaded
from headstart.tracking.wandb_settings import QUIET
from wandb_server import Server, serve_this_process

RESULT: dict[str, Any] = {
    "test": {"accuracy": 0.75},
    "val": {"accuracy": 0.7, "nll": 0.5},
    "phases": [{"name": "head", "best_epoch": 1}, {"name": "all", "best_epoch": 2}],
    "per_class": [{"name": "cat", "recall": 0.5}, {"name": "St. Bernard", "recall": None}],
    "skipped": {"train": ["a.png"], "val": []},
    "attempts": 2,
}
ROWS = [{"index": i, "name": f"{i}.png", "label": 0, "predicted": 1, "confidence": 0.5} for i in range(16)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with serve_this_process(monkeypatch, tmp_path) as made:
        yield made


def open_log(folder: Path, run_id: str = "r1", **changes: Any) -> RunLog:
    folder.mkdir(exist_ok=True)
    settings = LoggerConfig(**{"wandb": True, "project": "p"} | changes)
    about: dict[str, Any] = {"run_id": run_id, "name": folder.name, "study": "demo", "job_type": "finetune"}
    return RunLog(folder, settings, **about, config={"strategy": "finetune", "attempts": 1})


def log(run_log: RunLog, *epochs: int, phase: str = "all") -> None:
    for epoch in epochs:
        run_log.log_epoch(phase, epoch, epoch, train_loss=1 / epoch, val_accuracy=epoch / 10)


def epochs_of(server: Server, run_id: str = "r1") -> list[int]:
    return [point["epoch"] for point in server.runs[run_id].history if "train/loss" in point]


def test_a_stopped_run_that_goes_on_has_every_epoch_once_and_no_error(tmp_path: Path, server: Server) -> None:
    """The first attempt ends after its first epoch was sent and its second only written."""
    with pytest.raises(Stopped), open_log(tmp_path / "r") as first:  # noqa: PT012
        log(first, 1, phase="head")
        first._metrics.add({"phase": "all", "epoch": 1, "step": 1, "train_loss": 1.0})
        raise Stopped(15)
    run = server.runs["r1"]
    assert run.ended == [255]
    assert (run.summary["status"], run.summary["error"]) == ("stopped", "Stopped: stopped by SIGTERM")
    with open_log(tmp_path / "r") as second:
        log(second, 1, 2)  # the first of them again, as from a checkpoint
        second.finish(RESULT)
    assert run.ended == [255, 0]
    assert epochs_of(server) == [1, 2, 3]
    assert [point["_step"] for point in run.history] == [1, 2, 3]
    assert run.summary["status"] == "completed"
    assert "error" not in run.summary
    wanted = {
        "test/accuracy": 0.75,
        "val/accuracy": 0.7,
        "best/epoch": 3,
        "best/val_accuracy": 0.7,
        "best/val_loss": 0.5,
        "recall/cat": 0.5,
        "skipped_images": 1,
        "attempts": 2,
    }
    assert {key: run.summary.get(key) for key in wanted} == wanted
    assert not [key for key in run.summary if "." in key]
    assert run.config == {"strategy": "finetune", "attempts": 1}


def test_offline_the_latest_recording_is_the_whole_run(tmp_path: Path, server: Server) -> None:
    with open_log(tmp_path / "r", mode="offline") as first:
        log(first, 1, 2)
    with open_log(tmp_path / "r", mode="offline") as second:
        log(second, 3)
        second.finish(RESULT)
    *_, latest = find_recordings(tmp_path / "r")
    command = [sys.executable, "-m", "wandb", "sync", str(latest.parent)]
    subprocess.run(command, capture_output=True, timeout=120, check=True, cwd=tmp_path)
    assert epochs_of(server) == [1, 2, 3]
    assert server.runs["r1"].ended == [0]
    assert is_uploaded(latest)


@pytest.mark.parametrize(("state", "exit_code"), [("pruned", 0), ("stopped", 255), ("failed", 1)])
def test_a_run_ends_in_its_state(state: Any, exit_code: int, tmp_path: Path, server: Server) -> None:
    with open_log(tmp_path / "r") as run_log:
        log(run_log, 1)
        run_log.end(state)
    assert server.runs["r1"].ended == [exit_code]
    assert server.runs["r1"].summary["status"] == state
    assert is_uploaded(find_recordings(tmp_path / "r")[-1])


@pytest.mark.slow
def test_a_slow_server_gets_the_whole_run(tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """2.7 s for each answer: more than a run once waited for its first one."""
    server.delay = 2.7
    with open_log(tmp_path / "r") as run_log:
        log(run_log, 1)
        time.sleep(2)  # training
        run_log.finish(RESULT)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert epochs_of(server) == [1]
    assert server.runs["r1"].ended == [0]
    assert len(find_recordings(tmp_path / "r")) == 1


@pytest.mark.slow
def test_a_server_that_dies_at_the_end_costs_pictures_at_most(tmp_path: Path, server: Server) -> None:
    """Numbers go out before pictures are uploaded; what was recorded then makes a finished run of it."""
    server.delay = 0.9
    with open_log(tmp_path / "r") as run_log:
        log(run_log, 1, 2)
        assert server.opened.wait(60)
        run_log.finish(RESULT, ROWS, lambda which: np.zeros((len(which), 3, 8, 8), np.uint8), ["cat", "dog"])
        until = time.monotonic() + 60
        while "test/accuracy" not in server.runs["r1"].summary and time.monotonic() < until:
            time.sleep(0.1)
        server.die()
    assert server.runs["r1"].summary["test/accuracy"] == 0.75
    (recording,) = find_recordings(tmp_path / "r")
    assert not is_uploaded(recording)
    good = Server()
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(recording)]
    environment = {"WANDB_BASE_URL": good.url, "WANDB_API_KEY": "k" * 40, "HOME": str(tmp_path)}
    subprocess.run(command, capture_output=True, timeout=120, check=True, cwd=tmp_path, env=environment)
    good.die()
    assert good.runs["r1"].ended == [0]
    assert good.runs["r1"].summary["test/accuracy"] == 0.75
    assert epochs_of(good) == [1, 2]


@pytest.mark.parametrize("system", [True, False])
def test_use_of_the_machine_is_recorded_unless_it_is_switched_off(
    system: bool, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUIET, "x_stats_sampling_interval", 0.5)
    with open_log(tmp_path / "r", system=system) as run_log:
        log(run_log, 1)
        assert server.opened.wait(60)
        until = time.monotonic() + 20
        while system and not server.runs["r1"].events and time.monotonic() < until:
            time.sleep(0.2)
    assert bool(server.runs["r1"].events) is system
    assert not [line for line in server.runs["r1"].events if sys.executable in line]
    assert "wandb-metadata.json" not in json.dumps(server.runs["r1"].uploaded)


@pytest.mark.slow
def test_the_weights_are_an_artifact_when_asked_with_what_they_come_from(tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "r"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.safetensors").write_bytes(b"weights")
    (folder / "config.yaml").write_text("seed: 0\n")
    settings = LoggerConfig(wandb=True, project="p", artifacts="model")
    about: dict[str, Any] = {"run_id": "r1", "name": "r", "study": "demo", "job_type": "finetune"}
    config = {"data": "digits", "digest_data": "d" * 32, "weights": "imagenet", "digest_weights": "e" * 32}
    with RunLog(folder, settings, **about, config=config) as run_log:
        log(run_log, 1)
        run_log.finish(RESULT)
    made = {artifact["artifactCollectionName"]: artifact for artifact in server.artifacts}
    assert set(made) == {"model-r1", f"data-{'d' * 16}", f"weights-{'e' * 16}"}
    known = json.loads(made["model-r1"]["metadata"])
    assert known["digest_data"] == "d" * 32
    assert known["weights"] == "imagenet"
    assert server.runs["r1"].ended == [0]


@pytest.mark.parametrize("found", [None, {"rate": 0.001}])
def test_the_curve_of_a_learning_rate_is_shown_where_one_was_found(
    found: dict[str, Any] | None, tmp_path: Path, server: Server
) -> None:
    with open_log(tmp_path) as run_log:
        (tmp_path / "figures").mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / "figures" / "learning_rate.png")
        run_log.finish(RESULT | {"learning_rate": found}, ROWS, None, ["cat", "dog"])
    shown = server.summary.get("learning_rate/range_test")
    assert (shown is not None) is (found is not None)
    assert shown is None or (shown["_type"], shown["width"]) == ("image-file", 4)


def test_what_waits_is_later_than_the_last_uploaded_of_the_same_id(tmp_path: Path) -> None:
    names = ["run-20260101_000001-a/run-a", "run-20260101_000002-a/run-a", "run-20260101_000003-b/run-b"]
    names += ["offline-run-20260101_000004-a/run-a", "offline-run-20260101_000005-c/run-c"]
    for name in names:
        (tmp_path / "wandb" / name).parent.mkdir(parents=True)
        (tmp_path / "wandb" / f"{name}.wandb").touch()
    for name in names[1:3]:
        (tmp_path / "wandb" / name).with_suffix(SYNCED).touch()
    assert [path.parent.name for path in find_waiting(tmp_path)] == [Path(name).parent.name for name in names[3:]]
    (tmp_path / "wandb" / names[1]).with_suffix(SYNCED).unlink()
    assert [path.parent.name for path in find_waiting(tmp_path)] == [
        Path(names[place]).parent.name for place in (0, 1, 3, 4)
    ]
