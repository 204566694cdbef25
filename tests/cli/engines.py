"""What the tests of launchers share: small jobs, what they left, and waiting for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL = (
    "train", "-m", "model=lenet5", "hardware=cpu", "hardware.threads=1", "logger=csv", "data.image_size=32",
    "strategy=scratch", "data.train_per_class=4", "data.n_test=20", "augment=none", "checkpoint_every=0",
)  # fmt: skip


def read_results(folder: Path) -> dict[str, tuple[Any, ...]]:
    """By the run's name: its metrics, and the bytes of its predictions and its final weights."""
    found = {}
    for path in folder.glob("outputs/runs/*/result.json"):
        result = json.loads(path.read_text("utf-8"))
        files = (path.with_name("predictions.csv"), path.with_name("checkpoints") / "best.safetensors")
        found[path.parent.name] = (result["test"], result["val"], *(file.read_bytes() for file in files))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "too late"
        time.sleep(0.2)


def count_attempts(folder: Path) -> list[int]:
    """How often each run was begun."""
    return sorted(json.loads(path.read_text("utf-8"))["attempts"] for path in folder.glob("outputs/runs/*/state.json"))


def count_begun(folder: Path) -> int:
    """How many runs have a checkpoint."""
    return len({path.parents[1] for path in folder.glob("outputs/runs/*/checkpoints/*/*.ckpt")})
