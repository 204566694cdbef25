"""Recall class by class, and differences between two rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from headstart.report.stats.contrast import ClassChange, most_changed
from headstart.report.stats.one_row import score_classes
from headstart.report.study.groups import Stat
from report.studies import answered, read_results, table


def test_recall_by_class(study: Path) -> None:
    runs = read_results(study)
    rows = {(row["row"], row["class"]): row for row in table(study, "per_class.csv")}
    assert len(rows) == 5 * 10
    for strategy in ("finetune", "ridge"):
        recalls = []
        for seed in range(3):
            pairs = [(int(one["label"]), int(one["predicted"])) for one in runs[strategy, seed]["rows"]]
            recalls.append([np.mean([seen == k for true, seen in pairs if true == k]) for k in range(10)])
            assert np.mean(recalls[-1]) == pytest.approx(runs[strategy, seed]["test"]["balanced_accuracy"])
        for k, values in enumerate(np.transpose(recalls)):
            row = rows[strategy, str(k)]
            assert float(row["recall_mean"]) == pytest.approx(values.mean())
            low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
            assert float(row["recall_interval"]) == pytest.approx((high - low) / 2)
            assert int(row["images"]) == 40


def test_precision_and_f1_by_class(study: Path) -> None:
    runs = read_results(study)
    rows = [row for row in table(study, "per_class.csv") if row["row"] == "finetune"]
    pairs = [
        [(int(one["label"]), int(one["predicted"])) for one in runs["finetune", seed]["rows"]] for seed in range(3)
    ]
    found = [precision_recall_fscore_support(*zip(*seed, strict=True), labels=range(10)) for seed in pairs]
    for row in rows:
        precisions, f1s = ([seed[part][int(row["label"])] for seed in found] for part in (0, 2))
        assert float(row["precision_mean"]) == pytest.approx(np.mean(precisions))
        assert float(row["precision_std"]) == pytest.approx(np.std(precisions, ddof=1))
        assert float(row["f1_mean"]) == pytest.approx(np.mean(f1s))
    page = (study / "demo/report/index.html").read_text()
    assert "finetune: recall, precision and F1 of 10 classes" in page


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    found = score_classes([answered([0, 1, 1], [1, 1, 2], [1.0] * 3)])
    assert found is not None
    recall, precision, f1 = zip(*map(found.over_seeds, range(3)), strict=True)
    assert [one and one.mean for one in recall] == [0.0, 0.5, None]
    assert [one and one.mean for one in precision] == [None, 0.5, 0.0]
    assert [one and one.mean for one in f1] == [0.0, 0.5, 0.0]


def test_class_differences(study: Path) -> None:
    runs = read_results(study)
    for row in table(study, "class_differences.csv")[::3]:
        sides = [
            [
                np.mean(
                    [
                        one["predicted"] == row["label"]
                        for one in runs[row[side], seed]["rows"]
                        if one["label"] == row["label"]
                    ]
                )
                for seed in range(3)
            ]
            for side in ("row", "against")
        ]
        found = np.subtract(*sides)
        assert float(row["difference"]) == pytest.approx(found.mean(), abs=1e-12)
        if np.ptp(found) > 1e-9:
            low, high = stats.ttest_rel(*sides).confidence_interval(0.95)
            assert float(row["interval"]) == pytest.approx((high - low) / 2)


def test_of_many_classes_the_most_changed_are_shown() -> None:
    found = [ClassChange(str(k), k, 5, 0.5, 0.5, Stat(1, (k - 50) / 100, None, None)) for k in range(100)]
    shown = [change.label for change in most_changed(found)]
    assert shown == [*range(99, 87, -1), *range(11, -1, -1)]
