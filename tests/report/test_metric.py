"""`--metric`: what the table, the decision and the tests are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import headstart
from headstart.errors import UserError
from headstart.report.stats.families import families
from headstart.report.study.groups import compare
from headstart.report.study.metric import METRICS
from headstart.report.study.read import read
from headstart.report.study.select import judge
from report.studies import compared, table
from study_files import write_demo, write_run


def numbered(outputs: Path) -> dict[str, dict[str, list[float]]]:
    """Three seeds of two strategies: finetune is better in accuracy, scratch in every other number.

    Returns the seeds' values by metric and strategy.
    """
    values = {
        name: {"finetune": [0.5, 0.52, 0.51], "scratch": [0.31, 0.3, 0.3] if falls else [0.7, 0.71, 0.7]}
        for name, falls in {
            "accuracy": True,
            "balanced_accuracy": False,
            "nll": True,
            "f1": False,
            "auroc": False,
        }.items()
    }
    for strategy in ("finetune", "scratch"):
        for seed in range(3):
            test = {name: found[strategy][seed] for name, found in values.items()}
            write_run(outputs, strategy=strategy, seed=seed, update={"test": test, "seconds": {"total": 1.0}})
    return values


@pytest.mark.parametrize("name", METRICS)
def test_rows_tests_and_decision_are_of_the_metric(
    name: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, metric = numbered(outputs)[name], METRICS[name]
    first, second = ("finetune", "scratch") if name == "accuracy" else ("scratch", "finetune")
    compared(outputs, "demo", "--metric", name, "--reference", second)
    assert [row["strategy"] for row in table(outputs)] == [first, second]
    said = " ".join(capsys.readouterr().out.split("╯")[1].split())
    assert f"Take {first}, the best by mean {metric.title} (" in said
    assert f"{metric.unit} over" in said
    (pair,) = table(outputs, "pairs.csv")
    assert (pair["row"], pair["against"], pair["metric"]) == (first, second, name)
    assert float(pair["difference"]) == pytest.approx(np.mean(values[first]) - np.mean(values[second]))
    assert float(pair["p_seeds"]) == pytest.approx(stats.ttest_rel(values[first], values[second]).pvalue)
    assert (pair["basis"] == "seeds and images") == metric.over_images
    page = (outputs / "demo/report/index.html").read_text()
    assert f"the best {metric.title} of each task is bold" in page
    assert ("Less NLL is better" in page) == (name == "nll")


def test_a_row_without_the_metric_is_left_out_and_said_to_be(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo(outputs)
    for seed in range(3):
        write_run(outputs, strategy="ridge", seed=seed)
    compared(outputs, "demo", "--metric", "nll")
    assert "ridge" not in {row["strategy"] for row in table(outputs)}
    assert "not counted: 3 without test.nll (ridge)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"No completed run of study demo has test\.auroc .*--metric accuracy"):
        compared(outputs, "demo", "--metric", "auroc")


def test_a_metric_that_there_is_not_is_named(outputs: Path) -> None:
    write_demo(outputs)
    with pytest.raises(UserError, match=r"metric balanced: must be one of accuracy, balanced_accuracy, nll, f1, auroc"):
        compared(outputs, "demo", "--metric", "balanced")
    with pytest.raises(UserError, match="metric ece: a network that guesses and says so has no calibration error"):
        compared(outputs, "demo", "--metric", "ece")


def test_from_python_the_same_rows_pairs_and_decision_come_back(outputs: Path) -> None:
    write_demo(outputs)
    found = headstart.compare("demo", metric="nll", output_dir=outputs, plots=False)
    assert found.decision[0].startswith("Take ")
    written = table(outputs)
    assert [row["strategy"] for row in found.rows] == [row["strategy"] for row in written]
    assert [row["nll_mean"] for row in found.rows] == [float(row["nll_mean"]) for row in written]
    assert {pair["metric"] for pair in found.pairs} == {"nll"}
    assert (found.folder / "index.html").is_file()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy"])
def test_the_mean_over_images_is_the_metric(name: str, outputs: Path) -> None:
    for strategy, skill in {"finetune": 2.4, "scratch": 1.5}.items():
        for seed in range(2):
            write_run(outputs, strategy=strategy, seed=seed, skill=skill, n_test=403)  # classes of 40 and 41 images
    comparison = compare(judge(read(outputs / "demo"), METRICS[name]))
    (family,) = families(comparison)
    (pair,) = family.pairs
    assert pair.sample is not None
    assert pair.sample.scores is not None
    assert pair.sample.scores.mean(1) == pytest.approx(pair.sample.differences)
