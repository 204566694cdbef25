"""A run's predictions, complete or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.report.study.read import read
from study_files import write_run


def test_incomplete_predictions_do_not_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    lines = (folder / "predictions.csv").read_text().splitlines()
    (folder / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    (run,) = read(tmp_path / "demo").runs
    assert run.answers is None
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    (run,) = read(tmp_path / "demo").runs
    assert run.answers is not None
    assert run.answers.right.mean() == pytest.approx(run.accuracy)
