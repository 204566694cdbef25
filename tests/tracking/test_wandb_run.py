"""W&B in bad weather, by whole runs: training ends well, nothing is lost, and one warning says how to upload."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from headstart.tracking.wandb_account import log_in
from wandb_server import Server

EPOCHS = 4
SMALL = (
    "hardware=cpu hardware.threads=1 data.image_size=32 data.train_per_class=4 data.n_test=40 "
    f"model=timm model.name=test_resnet strategy=scratch epochs={EPOCHS}"
).split()
LOST = 5.0  # seconds that W&B may cost at most

TIMED = """
import sys, time
from headstart import train
work = train.work
def timed(*arguments):
    began = time.monotonic()
    work(*arguments)
    print(f"worked {time.monotonic() - began:.2f}", flush=True)
train.work = timed
from headstart.cli.main import entry
entry()
"""


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return kept | {"HOME": str(home), "NETRC": str(home / ".netrc"), "OMP_NUM_THREADS": "1"} | more


def online(tmp_path: Path, server: Server) -> dict[str, str]:
    return environment(tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY="k" * 40)


def start(tmp_path: Path, variables: dict[str, str], *overrides: str) -> subprocess.Popen[str]:
    """`headstart train` in a process of its own, which says at its end how long the run itself took."""
    line = [sys.executable, "-c", TIMED, "train", *SMALL, "logger=wandb", *overrides]
    return subprocess.Popen(
        line, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ends_well(process: subprocess.Popen[str], tmp_path: Path, warnings: int = 1) -> tuple[Path, str, str]:
    """Wait for the run and check all that bad weather may not touch; returns its folder and what it said."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    (folder,) = (tmp_path / "outputs" / "runs").glob("test_resnet-*")
    assert out.count("metrics are in metrics.csv; upload later") == warnings, out
    if warnings:
        assert re.search(
            rf"upload later with wandb sync (--no-skip-online )?{folder.relative_to(tmp_path)}/wandb\n", out
        )
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "completed"
    with (folder / "metrics.csv").open(newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == [str(epoch + 1) for epoch in range(EPOCHS)]
    found = re.search(r"worked ([\d.]+)", out)
    assert found
    spent = float(found[1]) - result["seconds"]["total"]
    assert spent < LOST, f"{spent:.1f} s after the run"
    return folder, out, err


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def synced(out: str, tmp_path: Path) -> list[dict]:
    """The history that a good server holds after the command that the warning names."""
    good = Server()
    command = out.partition("upload later with wandb ")[2].partition("\n")[0].split()
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *command],
        cwd=tmp_path,
        env=online(tmp_path, good),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    good.die()
    return [point for point in good.history if "all/train_loss" in point]


@pytest.mark.slow
def test_a_good_server_gets_every_epoch_and_the_end(tmp_path: Path, server: Server) -> None:
    """What the others are measured against: without it, their weather would not be known to be the cause."""
    *_, err = ends_well(start(tmp_path, online(tmp_path, server)), tmp_path, warnings=0)
    assert err == ""
    assert [point["epoch"] for point in server.history if "all/train_loss" in point] == [
        epoch + 1 for epoch in range(EPOCHS)
    ]
    assert server.ended == [0]


@pytest.mark.slow
@pytest.mark.parametrize("weather", ["500", "401", "mute", "refused"])
def test_bad_from_the_start(weather: str, tmp_path: Path, server: Server) -> None:
    server.weather = weather if weather != "refused" else "good"
    if weather == "refused":
        server.die()
    _, out, err = ends_well(start(tmp_path, online(tmp_path, server)), tmp_path)
    assert err == ""
    assert len(synced(out, tmp_path)) == EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("weather", ["500", "401", "mute", "refused"])
def test_bad_after_a_good_start(weather: str, tmp_path: Path, server: Server) -> None:
    def turn() -> None:
        assert server.opened.wait(60)
        server.weather = weather if weather != "refused" else server.weather
        if weather == "refused":
            server.die()

    threading.Thread(target=turn, daemon=True).start()
    _, out, err = ends_well(start(tmp_path, online(tmp_path, server)), tmp_path)
    assert err == ""
    assert server.opened.is_set()
    assert len(synced(out, tmp_path)) == EPOCHS


def service_of(pid: int) -> int | None:
    """The process of W&B that a process has started, None before it has."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    for child in (int(word) for file in children for word in file.read_text().split()):
        if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


@pytest.mark.slow
def test_wandbs_process_killed_after_a_good_start(tmp_path: Path, server: Server) -> None:
    process = start(tmp_path, online(tmp_path, server))
    assert server.opened.wait(60)
    time.sleep(0.1)
    victim = service_of(process.pid)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    *_, err = ends_well(process, tmp_path)
    assert err == ""
    assert server.ended == []


@pytest.mark.parametrize(
    ("offline", "disabled", "online"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_beside_a_run_of_the_users_own_its_login_counts(
    offline: bool, disabled: bool, online: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    own = SimpleNamespace(offline=offline, disabled=disabled)
    assert log_in(SimpleNamespace(run=own), "auto") == (online, None)
