"""Confusion matrices, counted from predictions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from headstart.report.stats.one_row import count_group, shares
from headstart.report.study.groups import compare
from headstart.report.study.read import read


def test_confusion_counts_equal_predictions_and_accuracy(demo: Path) -> None:
    for group in compare(read(demo / "demo")).groups:
        counts, classes, without = count_group(group)
        assert counts is not None
        assert without == []
        assert classes == [str(k) for k in range(10)]
        assert counts.sum() == 3 * 400
        assert np.trace(counts) / counts.sum() == pytest.approx(group.accuracy.mean, rel=1e-12)
        assert shares(counts).sum(axis=1) == pytest.approx(np.ones(10))
        rows = [row for run in group.runs for row in csv.DictReader((run.folder / "predictions.csv").open())]
        theirs = confusion_matrix([int(row["label"]) for row in rows], [int(row["predicted"]) for row in rows])
        assert counts.tolist() == theirs.tolist()


def test_confusion_of_a_class_without_images() -> None:
    rate = shares(np.array([[3, 1], [0, 0]]))
    assert rate[0].tolist() == [0.75, 0.25]
    assert np.isnan(rate[1]).all()
