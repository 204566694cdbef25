"""Accuracy over the size of a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headstart.report import questions
from report.questions.figures import drawn, of_study, write_changes


def test_the_response_begins_at_the_unchanged_images(write: Callable[..., Path], tmp_path: Path) -> None:
    from headstart.report.questions.changes import by_size

    write_changes(
        write("finetune", 0, 0.9), ("brightness", 0.2, 0.4), ("brightness", -0.2, 0.5), ("contrast", 0.5, 0.8)
    )
    (run,) = of_study(tmp_path).study.runs
    assert by_size(run, "brightness") == {-0.2: 0.5, 0.0: 0.9, 0.2: 0.4}
    assert list(by_size(run, "brightness")) == [-0.2, 0.0, 0.2]
    assert by_size(run, "contrast") == {0.5: 0.8, 1.0: 0.9}
    assert "Bands are 95 % intervals" in drawn(questions.Response("x", ["strategy"]), tmp_path)
