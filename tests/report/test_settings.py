"""What is chosen on validation, what is compared, and where the rest stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import headstart
from headstart.errors import UserError
from headstart.report.stats.settings import choose_settings, is_setting
from headstart.report.study.groups import compare
from headstart.report.study.read import read
from report.studies import compared, made, table
from study_files import write_run


def write_rates(outputs: Path, **changes: object) -> None:
    """Fine-tuning at three rates: the one that is best on test images is not best on validation; and another row."""
    for lr, (val, test) in {0.001: (0.80, 0.90), 0.003: (0.85, 0.80), 0.01: (0.70, 0.60)}.items():
        for seed in range(2):
            update = {"val": {"accuracy": val, "nll": 0.5}, "test": {"accuracy": test + seed / 100}}
            write_run(outputs, strategy="finetune", seed=seed, changes={"optimizer.lr": lr, **changes}, update=update)
    for seed in range(2):
        write_run(outputs, strategy="scratch", seed=seed, skill=1.0, changes=changes)


def test_the_best_on_validation_is_compared_and_the_rest_folded(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rates(outputs)
    compared(outputs, "demo")
    said = " ".join(capsys.readouterr().out.split())
    assert "finetune · lr 0.003 is chosen among 3 settings by validation accuracy (85.0 % over 2 common seeds)" in said
    rows = {(row["strategy"], row["optimizer.lr"]): row["compared"] for row in table(outputs)}
    expected = {"0.003": "true", "0.001": "false", "0.01": "false"}
    assert {rate: rows["finetune", rate] for rate in expected} == expected
    assert [row["compared"] for row in table(outputs, "runs.csv")].count("false") == 4
    (pair,) = table(outputs, "pairs.csv")
    assert "lr 0.003" in pair["row"] + pair["against"].replace("scratch", "")
    found = json.loads((outputs / "demo/report/decision.json").read_text())
    (chosen,) = found["chosen"]
    assert [(each["chosen"], each["val"]) for each in chosen["settings"]] == [(True, 0.85), (False, 0.8), (False, 0.7)]
    page = made(outputs, "demo", "--no-plots")
    assert "finetune · lr 0.003: 3 settings" in page
    assert page.count(">not compared<") == 2


def test_keep_compares_a_setting(outputs: Path) -> None:
    write_rates(outputs)
    found = headstart.compare("demo", keep=["optimizer"], output_dir=outputs, plots=False)
    assert found.chosen == []
    assert len(found.rows) == 4
    assert {row["compared"] for row in found.rows} == {"true"}
    with pytest.raises(UserError, match=r"--keep optimizer\.lrr: no setting .* Did you mean optimizer\.lr\?"):
        compared(outputs, "demo", "--keep", "optimizer.lrr")


def test_a_key_that_a_figure_names_is_compared(outputs: Path) -> None:
    figure = {"_target_": "headstart.report.questions.Curves", "x": "optimizer.lr", "by": ["strategy"]}
    write_rates(outputs, **{"figures.rates": figure})
    _, choices = choose_settings(compare(read(outputs / "demo")))
    assert choices == []


def test_what_differs_besides_a_setting_is_compared(outputs: Path) -> None:
    for lr, flip in ((0.001, False), (0.003, True)):
        write_run(outputs, changes={"optimizer.lr": lr, "augment.flip": flip})
    comparison, choices = choose_settings(compare(read(outputs / "demo")))
    assert (len(comparison.groups), choices) == (2, [])


def test_without_validation_scores_all_rows_stay(outputs: Path) -> None:
    for lr in (0.001, 0.003):
        write_run(outputs, changes={"optimizer.lr": lr}, update={"val": {}})
    comparison, choices = choose_settings(compare(read(outputs / "demo")))
    assert (len(comparison.groups), choices) == (2, [])


@pytest.mark.parametrize(
    ("key", "expected"),
    {
        "optimizer.lr": True,
        "epochs": True,
        "strategy.phases.main.probe.C": True,
        "strategy.phases.main.probe._target_": False,
        "optimizer._target_": False,
        "strategy.phases.main.rates.head": False,
        "strategy.phases.main.statistics": False,
        "augment.flip": False,
        "model.args.width": False,
        "data.train_per_class": False,
        "data.batch_size": True,
    }.items(),
)
def test_what_a_setting_is(key: str, expected: bool) -> None:
    assert is_setting(key) == expected


def test_a_tie_on_validation_goes_to_the_lower_loss(outputs: Path) -> None:
    for lr, nll in ((0.001, 0.6), (0.003, 0.4), (0.01, 0.5)):
        write_run(outputs, changes={"optimizer.lr": lr}, update={"val": {"accuracy": 0.8, "nll": nll}})
    _, (choice,) = choose_settings(compare(read(outputs / "demo")))
    assert [row.keys["optimizer.lr"] for row in choice.rows] == [0.003, 0.01, 0.001]
