"""A run small enough for these tests, and the tables that measures leave."""

from __future__ import annotations

import csv
from pathlib import Path

TINY = ("model=resnet20_cifar", "+model.args.width=0.25", "strategy=scratch", "hardware.threads=1")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))
