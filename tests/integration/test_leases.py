"""Whole runs where flock is missing: one that was stopped for longer than its lease leaves the other one alone."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fork_server

EPOCHS = 60
COMMAND = (
    "train", "model=lenet5", "hardware=cpu", "hardware.threads=1", "logger=csv", "data.image_size=32",
    "strategy=scratch", "data.train_per_class=4", "data.n_test=20", f"epochs={EPOCHS}", "checkpoint_every=0",
)  # fmt: skip
NO_FLOCK = """
import errno, fcntl, os
from headstart.storage import locks
locks.LEASE, locks.HEARTBEAT = 3.0, 0.2
def broken(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = broken
"""


def read_run(place: Path) -> tuple[object, ...]:
    """What must be equal: metrics, predictions, weights, and which epochs the curves have."""
    (path,) = place.glob("outputs/runs/*/result.json")
    result = json.loads(path.read_text("utf-8"))
    with path.with_name("metrics.csv").open(encoding="utf-8") as file:
        epochs = [row["epoch"] for row in csv.DictReader(file)]
    files = (path.with_name("predictions.csv"), path.parent / "checkpoints" / "best.safetensors")
    return result["test"], result["val"], epochs, *(each.read_bytes() for each in files)


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, "too late"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_that_wakes_after_its_lease_was_taken_over_writes_nothing_and_says_so(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    assert fork_server.run(*COMMAND, cwd=alone).returncode == 0
    with (tmp_path / "first").open("w") as first_said, (tmp_path / "second").open("w") as second_said:
        outputs = [(file.fileno(), file.fileno()) for file in (first_said, second_said)]
        first = fork_server.start(*COMMAND, cwd=shared, before=NO_FLOCK, output=outputs[0])
        wait_until(lambda: any(shared.glob("outputs/runs/*/checkpoints/*/*.ckpt")))
        first.send_signal(signal.SIGSTOP)
        second = fork_server.start(*COMMAND, cwd=shared, before=NO_FLOCK, output=outputs[1])
        wait_until(lambda: "goes on from epoch" in (tmp_path / "second").read_text())
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 1
        assert second.wait() == 0, (tmp_path / "second").read_text()
    assert f"(pid {second.pid} on " in (tmp_path / "first").read_text()
    assert "its result counts, and this one's is not written" in (tmp_path / "first").read_text()
    assert f"taken over from pid {first.pid} on " in (tmp_path / "second").read_text()
    assert read_run(shared) == read_run(alone)
