"""Calibration, against the runs' own error."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.report.stats.one_row import reliability
from report.studies import answered, looked_at, made, read_results, table
from study_files import write_run


def test_calibration_equals_the_results_error(study: Path) -> None:
    comparison, _ = looked_at(study)
    for group in comparison.groups:
        if group.strategy == "ridge":
            assert reliability(group.runs) is None
            continue
        for run in group.runs:
            found = reliability([run])
            assert found is not None
            assert found.error == pytest.approx(run.result["test"]["ece"], abs=2e-4)
            assert found.counts.sum() == 400
    rows = [row for row in table(study, "calibration.csv") if row["row"] == "finetune"]
    assert len(rows) == 15
    right = sum(int(row["images"]) * float(row["accuracy"]) for row in rows if row["accuracy"])
    runs = read_results(study)
    assert right == pytest.approx(400 * sum(runs["finetune", seed]["test"]["accuracy"] for seed in range(3)))
    assert "ridge" not in {row["row"] for row in table(study, "calibration.csv")}


def test_bins_are_open_on_the_left() -> None:
    found = reliability([answered([0, 1, 2, 0], [0, 1, 0, 1], [0.2, 0.21, 1.0, 0.0])])
    assert found is not None
    assert {place: int(count) for place, count in enumerate(found.counts) if count} == {0: 1, 2: 1, 3: 1, 14: 1}
    assert found.error == pytest.approx((0.8 + 0.79 + 1.0 + 0.0) / 4)


def test_the_table_has_nll_and_ece_with_and_without_the_temperature(tmp_path: Path) -> None:
    for seed in (0, 1):
        found = {"temperature": 1.5, "n": 100, "test": {"nll": 0.25 + seed / 10, "ece": 0.03}}
        write_run(tmp_path, seed=seed, update={"calibration": found})
    write_run(tmp_path, strategy="ridge", update={"calibration": {"temperature": None, "why": "no probabilities"}})
    page = made(tmp_path, "demo", "--no-plots")
    rows = {row["strategy"]: row for row in table(tmp_path)}
    assert float(rows["finetune"]["nll_calibrated_mean"]) == pytest.approx(0.3)
    assert float(rows["finetune"]["ece_calibrated_mean"]) == pytest.approx(0.03)
    assert rows["ridge"]["nll_calibrated_mean"] == ""
    assert "NLL cal." in page
    assert ">0.300<" in page
