"""Accuracy on changed images, seed by seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.report import questions
from headstart.report.questions.changes import outside
from report.questions.figures import drawn, of_study, write_changes


def test_each_kind_of_change_counts_alike(write: Callable[..., Path], tmp_path: Path) -> None:
    """Sizes that change nothing are no shift of the distribution."""
    noisy = (("noise", 0, 0.9), ("noise", 0.1, 0.5), ("noise", 0.2, 0.3))
    write_changes(write("finetune", 0, 0.9), *noisy, ("contrast", 1, 0.9), ("contrast", 0.5, 0.8))
    (run,) = of_study(tmp_path).study.runs
    assert outside(run) == pytest.approx((0.4 + 0.8) / 2)


def test_robustness_is_compared_seed_by_seed(write: Callable[..., Path], tmp_path: Path) -> None:
    for seed, level in ((0, 0.6), (1, 0.8)):  # the seeds differ, the strategies' difference does not
        write_changes(write("finetune", seed, level), ("noise", 0.1, level - 0.2))
        write_changes(write("feature_extraction", seed, level - 0.05), ("noise", 0.1, level - 0.1))
    figure = questions.Robustness("x", ["strategy"], "finetune", {"finetune": [85.8, 66.8]}, "a paper, table 1")
    told = drawn(figure, tmp_path)
    assert "feature_extraction -5.0 ± 0.0 in distribution and +10.0 ± 0.0 out of it." in told
    assert "Hollow marks: a paper, table 1." in told


def test_a_run_without_changed_images_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    write("finetune", 0, 0.5)
    for figure in (questions.Robustness("x", ["strategy"]), questions.Response("x", ["strategy"])):
        assert "Not drawn: no run has a changes.csv" in drawn(figure, tmp_path)
