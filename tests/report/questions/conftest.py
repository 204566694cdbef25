"""Fixtures of the figures for a study's question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study_files import write_run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a run of the study `tmp_path/study` with a given test accuracy; returns its folder."""

    def run(strategy: str, seed: int, accuracy: float, model: str = "", **more: Any) -> Path:
        update = {"test": {"accuracy": accuracy}} | ({"model": model} if model else {}) | more.pop("update", {})
        changes = ({"model.name": model} if model else {}) | more.pop("changes", {})
        return write_run(tmp_path, "study", strategy, seed, update=update, changes=changes, **more)

    return run
