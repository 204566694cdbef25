"""Gains per cost, and the best row for each budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.report.stats.worth import BUDGETS, advice, frontier
from report.studies import looked_at, read_results, table
from study_files import write_run


def test_gains_per_cost(study: Path) -> None:
    runs = read_results(study)

    def mean(strategy: str, *path: str) -> float:
        values = []
        for seed in range(3):
            value: Any = runs[strategy, seed]
            for part in path:
                value = value[part]
            values.append(value)
        return float(np.mean(values))

    rows = [row for row in table(study, "worth.csv") if row["step"] == "cheapest"]
    (least,) = {row["over"] for row in rows}
    assert {row["row"] for row in rows} | {least} == {strategy for strategy, _ in runs}

    def seconds(strategy: str) -> float:
        return mean(strategy, "seconds", "total") + mean(strategy, "seconds", "features_reused")

    for row in rows:
        gain = mean(row["row"], "test", "accuracy") - mean(least, "test", "accuracy")
        extra = seconds(row["row"]) - seconds(least)
        assert extra > 0
        assert float(row["gain"]) == pytest.approx(gain, rel=1e-9)
        assert float(row["extra_seconds"]) == pytest.approx(extra, rel=1e-9)
        assert float(row["gain_per_second"]) == pytest.approx(gain / extra, rel=1e-9)
        if row["gain_per_gmac"]:
            assert float(row["gain_per_gmac"]) == pytest.approx(gain / float(row["extra_gmacs"]), rel=1e-9)
        assert row["gmacs_bound"] == (">=" if row["row"] == "last_layers" else "")


def test_frontier_and_what_to_take_for_a_budget(tmp_path: Path) -> None:
    costs = {"a": (0.5, 10.0), "b": (0.7, 20.0), "worse": (0.6, 30.0), "c": (0.9, 400.0), "dear": (0.9, 500.0)}
    for strategy, (accuracy, seconds) in costs.items():
        update = {"test": {"accuracy": accuracy}, "seconds": {"total": seconds}}
        write_run(tmp_path, strategy=strategy, update=update)
    comparison, family = looked_at(tmp_path)
    assert [(row.strategy, cost) for cost, row in frontier(family.rows, BUDGETS[0])] == [
        *(("a", 10.0), ("b", 20.0), ("c", 400.0)),
    ]
    assert advice(comparison, family, BUDGETS[0]) == (
        "Time with a cold cache: below 20.0 s take a (50.0 %), below 6.7 min take b (70.0 %), from there on c (90.0 %);"
        " below 10.0 s there is none."
    )
    assert advice(comparison, family, BUDGETS[2]) == ""


def test_a_row_that_costs_nothing_is_the_first_of_the_frontier(tmp_path: Path) -> None:
    for strategy, accuracy, learn in (("knn", 0.6, 0), ("logistic", 0.7, 12_810), ("worse", 0.5, 10)):
        update = {"test": {"accuracy": accuracy}, "params": {"trainable": learn, "total": 100_000}}
        write_run(tmp_path, strategy=strategy, update=update)
    comparison, family = looked_at(tmp_path)
    assert [(row.strategy, cost) for cost, row in frontier(family.rows, BUDGETS[2])] == [
        ("knn", 0),
        ("logistic", 12_810),
    ]
    said = advice(comparison, family, BUDGETS[2])
    assert "take knn (60.0 %), from there on logistic (70.0 %)." in said
    assert "there is none" not in said
