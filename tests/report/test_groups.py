"""How runs are grouped over seeds, and which keys tell rows apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.config.effect import NO_EFFECT
from headstart.report.study.groups import stat
from report.studies import compared, table
from study_files import write_run


def test_varying_key_splits_rows(outputs: Path) -> None:
    for budget in (5, 10, 50):
        for seed in range(2):
            write_run(outputs, seed=seed, changes={"data.train_per_class": budget})
    compared(outputs, "demo")
    rows = table(outputs)
    assert [(row["data.train_per_class"], row["seeds"]) for row in rows] == [
        ("5", "0 1"),
        ("10", "0 1"),
        ("50", "0 1"),
    ]
    assert "data.split_seed" not in rows[0]


def test_a_key_that_came_later_splits_no_seeds_of_one_row(outputs: Path) -> None:
    for seed, changes in enumerate(({}, {"data.resize": "crop"}, {"data.resize": "squash"})):
        write_run(outputs, seed=seed, changes=changes)
    compared(outputs, "demo")
    assert sorted((row["data.resize"], row["seeds"]) for row in table(outputs)) == [("crop", "0 1"), ("squash", "2")]


def test_keys_that_change_no_result_split_nothing(outputs: Path) -> None:
    for seed in range(3):
        changes = {"logger.tags": [f"t{seed}"], "hardware.workers": seed, "output_dir": f"o{seed}"}
        write_run(outputs, seed=seed, changes=changes | {"digests.data": f"d{seed}", "cache_dir": f"c{seed}"})
    compared(outputs, "demo")
    (row,) = table(outputs)
    assert row["n"] == "3"
    assert list(row)[:4] == ["model", "strategy", "data", "n"]


def test_pinned_split_seed_is_a_key_of_its_own(outputs: Path) -> None:
    for seed in range(2):
        for split in (7, 8):
            write_run(outputs, seed=seed, changes={"data.split_seed": split})
    compared(outputs, "demo")
    assert [row["data.split_seed"] for row in table(outputs)] in (["7", "8"], ["8", "7"])


def test_setting_that_follows_the_strategy_is_said_but_no_column(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write_run(outputs, strategy="finetune", seed=seed, changes={"optimizer.lr": 0.001})
        write_run(outputs, strategy="scratch", seed=seed, changes={"optimizer.lr": 0.01})
    compared(outputs, "demo")
    rows = table(outputs)
    assert len(rows) == 2
    assert "optimizer.lr" not in rows[0]
    assert "optimizer.lr is 0.001 in finetune, 0.01 in scratch" in " ".join(capsys.readouterr().out.split())


def test_a_setting_without_effect_splits_no_row_and_is_a_dash_there(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for lr in (0.001, 0.01):
        for seed in range(2):
            write_run(outputs, strategy="finetune", seed=seed, changes={"optimizer.lr": lr})
    for seed in range(2):  # the seeds had other rates, which a fitted head does not see
        write_run(outputs, strategy="ridge", seed=seed, changes={"optimizer.lr": 0.1 + seed, "epochs": 3 + seed})
    compared(outputs, "demo")
    found = sorted((row["strategy"], row["optimizer.lr"], row["seeds"]) for row in table(outputs))
    assert found == [("finetune", "0.001", "0 1"), ("finetune", "0.01", "0 1"), ("ridge", NO_EFFECT, "0 1")]
    assert "lr –" not in capsys.readouterr().out


def test_a_setting_that_only_some_strategies_heed_is_no_difference_between_them(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write_run(outputs, strategy="finetune", seed=seed, changes={"optimizer.lr": 0.001})
        write_run(outputs, strategy="ridge", seed=seed, changes={"optimizer.lr": 0.01})
    compared(outputs, "demo")
    assert "optimizer.lr" not in table(outputs)[0]
    assert "optimizer.lr is" not in capsys.readouterr().out


def test_two_folders_of_one_run_count_once(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As earlier versions made them of two rates for a fitted head."""
    whole = {"data.flip": False, "hardware.accumulate": 1}
    for lr in (0.001, 0.01):
        write_run(outputs, strategy="ridge", changes=whole | {"optimizer.lr": lr}, update={"digests": {"data": "d"}})
    other = {"digests": {"data": "other images"}}
    write_run(outputs, strategy="ridge", changes=whole | {"optimizer.lr": 0.1}, update=other)
    compared(outputs, "demo")
    assert "not counted: 1 repeated" in " ".join(capsys.readouterr().out.split())


def test_stat_of_missing_and_single_values() -> None:
    assert stat([]) is None
    assert stat([0.5, None]) is None
    single = stat([0.5])
    assert single is not None
    assert single.std is None
    assert single.interval is None
