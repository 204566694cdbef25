"""A report's folder: the tables hold the runs' numbers, and it is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from headstart.errors import RunFailed
from headstart.report.page import write
from report.studies import compared, half_width, made, table
from study_files import write_run


def results(outputs: Path, strategy: str) -> list[dict]:
    """The result.json of a strategy's runs, by seed."""
    loaded = [json.loads(path.read_text()) for path in (outputs / "demo").glob("*/result.json")]
    return sorted((each for each in loaded if each["strategy"] == strategy), key=lambda each: each["seed"])


def test_summary_equals_results(demo: Path) -> None:
    rows = {row["strategy"]: row for row in table(demo)}
    assert set(rows) == {"scratch", "feature_extraction", "finetune"}
    for strategy, row in rows.items():
        runs = results(demo, strategy)
        assert row["n"] == "3"
        assert row["seeds"] == "0 1 2"
        for name in ("accuracy", "balanced_accuracy", "top5", "nll", "ece"):
            values = [run["test"][name] for run in runs]
            assert float(row[f"{name}_mean"]) == pytest.approx(np.mean(values), rel=1e-12)
            assert float(row[f"{name}_std"]) == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-15)
            if np.ptp(values) > 0:
                assert float(row[f"{name}_interval"]) == pytest.approx(half_width(values), rel=1e-9)
        for name, path in {"params_trainable": "trainable", "params_total": "total"}.items():
            assert int(row[name]) == runs[0]["params"][path]
        for name in ("epochs", "backbone_forwards", "gmacs"):
            assert float(row[name]) == runs[0][name]


def test_seconds_are_those_of_a_cold_cache(demo: Path) -> None:
    row = next(row for row in table(demo) if row["strategy"] == "feature_extraction")
    runs = results(demo, "feature_extraction")
    assert [run["cached"] for run in runs] == [False, True, True]
    cold = [run["seconds"]["total"] + run["seconds"]["features"] * run["cached"] for run in runs]
    assert float(row["seconds_mean"]) == pytest.approx(np.mean(cold), rel=1e-12)
    assert min(cold) > 7.4


def test_runs_csv_equals_results(demo: Path) -> None:
    folders = [path.parent for path in (demo / "demo").glob("*/result.json")]
    rows = {row["run"]: row for row in table(demo, "runs.csv")}
    assert set(rows) == {folder.name for folder in folders}
    for folder in folders:
        result = json.loads((folder / "result.json").read_text())
        row = rows[folder.name]
        assert float(row["test.accuracy"]) == result["test"]["accuracy"]
        assert float(row["val.nll"]) == result["val"]["nll"]
        assert float(row["seconds.fit"]) == result["seconds"]["fit"]
        assert int(row["seed"]) == result["seed"]
        assert row["config_hash"] == result["config_hash"]


def test_run_level_key_beside_the_number_of_the_same_name(outputs: Path) -> None:
    for epochs in (4, 8):
        write_run(outputs, epochs=epochs, changes={"epochs": epochs})
    compared(outputs, "demo")
    assert sorted((row["config.epochs"], row["epochs"]) for row in table(outputs)) == [
        ("4", "4"),
        ("8", "8"),
    ]


def test_missing_numbers_are_left_empty(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        folder = write_run(outputs, strategy="ridge", seed=seed)
        result = json.loads((folder / "result.json").read_text())
        result["test"]["nll"] = None if seed else 0.5
        del result["gmacs"], result["seconds"]
        (folder / "result.json").write_text(json.dumps(result))
    compared(outputs, "demo")
    (row,) = table(outputs)
    assert row["nll_mean"] == row["gmacs"] == row["seconds_mean"] == ""
    assert row["accuracy_interval"] != ""
    assert "│     - │" in capsys.readouterr().out


def test_failed_writing_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    made(tmp_path, "demo", "--no-plots")
    report = tmp_path / "demo/report"
    before = {path.name: path.read_bytes() for path in report.iterdir()}

    write_table = write.write_table

    def fill(table: DataFrame, path: Path) -> None:
        write_table(table, path)
        if path.name == "runs.csv":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_table", fill)
    write_run(tmp_path, seed=1)
    with pytest.raises(RunFailed, match="No space left"):
        made(tmp_path, "demo", "--no-plots")
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before
    assert [path.name for path in (tmp_path / "demo").glob(".report*")] == []


def test_new_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write_run(tmp_path)
    made(tmp_path)
    assert (tmp_path / "demo/report/accuracy.png").exists()
    text = made(tmp_path, "demo", "--no-plots")
    assert "<img" not in text
    assert {path.name for path in (tmp_path / "demo/report").iterdir()} == {
        "index.html",
        "decision.json",
        *("summary.csv", "runs.csv", "pairs.csv", "worth.csv"),
        *("per_class.csv", "class_differences.csv", "calibration.csv", "changed.csv"),
    }
    assert [path.name for path in (tmp_path / "demo").glob(".report*")] == []
