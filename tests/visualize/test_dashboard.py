"""Pictures in W&B: real wandb, offline and by a server in a thread; what the run logged before stays as it is."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from PIL import Image

from conftest import compose
from headstart.config.flat import flatten
from headstart.tracking import wandb_pictures, wandb_run
from headstart.tracking.logger import RunLog
from headstart.tracking.wandb_run import WandbRun
from headstart.visualize.dashboard import send_pictures
from wandb_server import Server

RESULT = {"status": "completed", "study": "demo", "run": "net-finetune-digits-s0-0123abcd", "test": {"accuracy": 0.75}}
KEYS = ("test/accuracy", "all/train_loss", "gmacs")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep the machine's own W&B key, settings and home, and the server of another test, out of each test."""
    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(wandb_run.QUIET, "init_timeout", 10.0)  # whatever else this machine does
    monkeypatch.setattr(WandbRun.close, "__defaults__", (60.0,))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    yield
    with suppress(ConnectionError):  # its process was ended
        wandb.teardown()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def go_online(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)


def make_run(folder: Path, **logger: Any) -> Path:
    """The folder of a completed run, with what it logged."""
    folder.mkdir()
    config = compose("data=digits", "logger=wandb", *(f"logger.{key}={value}" for key, value in logger.items()))
    (folder / "config.yaml").write_text(yaml.dump(json.loads(json.dumps(config, default=vars))))
    (folder / "result.json").write_text(json.dumps(RESULT))
    (folder / "state.json").write_text(json.dumps({"status": "completed", "done": [{"phase": "all"}]}))
    about = {"run_id": "demo-0123abcd", "name": RESULT["run"], "study": "demo", "job_type": "finetune"}
    with RunLog(folder, config.logger, **about, config=flatten(config)) as run_log:
        run_log.log_text("strategy_table", ["phase  depth"])
        for epoch in range(3):
            run_log.log_epoch("all", epoch + 1, 4 * epoch, train_loss=0.5 - 0.1 * epoch, val_loss=0.4)
        run_log.finish(RESULT | {"gmacs": 0.4})
    return folder


def draw(folder: Path, *names: str) -> list[Path]:
    paths = [folder / "figures" / name for name in names]
    for side, path in enumerate(paths, start=20):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (side, side), (side, 9, 9)).save(path)
    return paths


def sync(folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Upload the folder as its user does."""
    go_online(monkeypatch, server)
    command = [sys.executable, "-m", "wandb", "sync", str(folder / "wandb")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.slow
def test_an_offline_run_gets_another_segment_that_changes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    folder = make_run(tmp_path / "run", mode="offline")
    send_pictures(folder, "features", draw(folder, "features.png", "features.webp"))
    send_pictures(folder, "why", draw(folder, "why-mistakes.png", "why-right.png"))
    assert len(list(folder.glob("wandb/offline-run-*/run-demo-0123abcd.wandb"))) == 3
    sync(folder, monkeypatch, server)
    assert [point["all/train_loss"] for point in server.history] == pytest.approx([0.5, 0.4, 0.3])
    assert [point["_step"] for point in server.history] == [1, 2, 3]
    summary = server.summary
    assert {key: summary[key] for key in KEYS} == pytest.approx(dict(zip(KEYS, (0.75, 0.3, 0.4), strict=True)))
    pictures = {key: value["_type"] for key, value in summary.items() if key.startswith("visualize/")}
    features = {"visualize/features", "visualize/features/features_webp"}
    assert set(pictures) == {*features, "visualize/why/why-mistakes", "visualize/why/why-right"}
    assert set(pictures.values()) == {"image-file"}
    assert {value["path"] for key, value in summary.items() if key in pictures} <= server.files
    config = server.config
    assert config["strategy_table"]["value"] == "phase  depth"
    assert config["model"]["value"] == "tf_efficientnet_lite0"
    assert {axis.get("2") for axis in config["_wandb"]["value"]["m"]} >= {"*"}
    assert server.ended == [0, 0, 0]


def test_an_animation_and_a_page_are_recorded_whole(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", mode="offline")
    before = {*folder.glob("wandb/offline-run-*")}
    picture, animation = draw(folder, "dream-a.b.png", "dream-a.b.webp")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(animation, "WEBP", save_all=True, append_images=frames[1:])
    page, table = picture.with_name("dream.html"), picture.with_name("dream.csv")
    page.write_text("<!DOCTYPE html><title>a map</title>")
    table.write_text("a,b")
    send_pictures(folder, "dream", [picture, animation, page, table])
    (segment,) = {*folder.glob("wandb/offline-run-*")} - before
    sent = {path.suffix: path for path in (segment / "files" / "media").rglob("*") if path.is_file()}
    assert set(sent) == {".png", ".webp", ".html"}
    assert sent[".webp"].read_bytes() == animation.read_bytes()
    assert sent[".html"].read_text() == page.read_text()
    summary = wandb_pictures.read_segments([*segment.glob("*.wandb")]).summary
    kinds = {key: value["_type"] for key, value in summary.items() if key.startswith("visualize/")}
    assert kinds == {
        "visualize/dream/dream-a_b": "image-file",
        "visualize/dream/dream-a_b_webp": "image-file",
        "visualize/dream/dream_html": "html-file",
    }


def test_an_online_run_is_resumed_and_only_gets_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    go_online(monkeypatch, server)
    folder = make_run(tmp_path / "run")
    before, lines = dict(server.summary), list(server.history)
    assert len(lines) == 3
    server.remembers = True
    send_pictures(folder, "filters", draw(folder, "filters.png"))
    assert server.history == lines
    assert {key: server.summary[key] for key in KEYS} == {key: before[key] for key in KEYS}
    assert server.summary["visualize/filters"]["path"] in server.files
    assert {axis.get("2") for axis in server.config["_wandb"]["value"]["m"]} >= {"*"}
    assert server.ended == [0, 0]


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    go_online(monkeypatch, server)
    folder = make_run(tmp_path / "run")
    server.die()
    with caplog.at_level(logging.WARNING):
        send_pictures(folder, "filters", draw(folder, "filters.png"))
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("headstart")]
    assert "The pictures are in the run's folder; upload later with wandb sync" in said


def test_a_run_without_wandb_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("W&B was asked"))
    folder = make_run(tmp_path / "run", wandb="false")
    send_pictures(folder, "filters", draw(folder, "filters.png"))
    assert not (folder / "wandb").exists()
