"""What nothing cheaper reaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headstart.report import questions
from headstart.report.questions.scatter import frontier
from report.questions.figures import drawn, of_study


def test_the_frontier_holds_what_nothing_cheaper_reaches(write: Callable[..., Path], tmp_path: Path) -> None:
    for strategy, accuracy, seconds in (
        ("feature_extraction", 0.7, 1.0),
        ("ema", 0.7, 2.0),  # as accurate, but dearer
        ("finetune", 0.9, 5.0),
        ("scratch", 0.4, 5.0),
        ("partial", 0.8, 3.0),
    ):
        write(strategy, 0, accuracy, update={"seconds": {"total": seconds, "features_reused": 0.0}})
    best = [row.strategy for row in frontier(of_study(tmp_path).groups, "seconds")]
    assert best == ["feature_extraction", "partial", "finetune"]
    figure = questions.Frontier("x", ["seconds", "params.trainable"], lowest=50)
    told = drawn(figure, tmp_path)
    assert f"With fewer seconds with a cold cache nothing is as accurate as: {', '.join(best)}." in told


def test_rows_of_several_data_sets_have_no_frontier(write: Callable[..., Path], tmp_path: Path) -> None:
    for data in ("digits", "pets"):
        write("finetune", 0, 0.9, data=data)
    told = drawn(questions.Frontier("x", ["seconds"]), tmp_path)
    assert told == "Not drawn: rows of several data sets or sizes have no frontier in common."
