"""The decision in words: which row to take, what shows it, and no more than is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from headstart.report.stats.decision import Decision, decide
from headstart.report.stats.families import families
from headstart.report.study.groups import compare
from headstart.report.study.read import read
from report.studies import compared, half_width, table
from study_files import write_run


def test_one_seed_has_no_interval(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(outputs, strategy="finetune", seed=4)
    write_run(outputs, strategy="scratch", seed=4, skill=1.0)
    compared(outputs, "demo")
    for row in table(outputs):
        assert row["n"] == "1"
        assert row["accuracy_interval"] == row["accuracy_std"] == row["seconds_interval"] == ""
    printed = capsys.readouterr().out
    accuracy = 100 * float(table(outputs)[0]["accuracy_mean"])
    assert f"{accuracy:.1f} ± -" in printed
    told = " ".join(printed.split())
    assert "By mean accuracy alone take" in told
    assert "with one common seed the test images alone are tested" in told
    assert "of the test images alone, as there is one common seed" in told
    assert "McNemar's exact test compares these two trainings alone: other seeds may differ" in told


def decided(outputs: Path, study: str = "demo") -> Decision:
    """The decision over a study."""
    comparison = compare(read(outputs / study))
    return decide(comparison, families(comparison))


def rescored(outputs: Path, strategy: str, accuracies: list[float], seconds: float, data: str = "digits") -> None:
    """Write a strategy's runs, one a seed, and put these accuracies and seconds into their results; predictions, which
    would not fit them, are taken away, so that seeds alone are tested.
    """
    for seed, accuracy in enumerate(accuracies):
        folder = write_run(outputs, strategy=strategy, seed=seed, data=data)
        (folder / "predictions.csv").unlink()
        path = folder / "result.json"
        result = json.loads(path.read_text())
        result["test"]["accuracy"] = accuracy
        result["seconds"] |= {"total": seconds, "features_reused": 0.0}
        path.write_text(json.dumps(result))


def test_decision_takes_the_best_that_is_shown_to_be_better(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.92, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.82, 0.83, 0.815], 5)
    rescored(outputs, "scratch", [0.50, 0.515, 0.49], 58)
    said = decided(outputs).sentence
    differences = np.array([0.09, 0.09, 0.085])
    p = 2 * stats.ttest_1samp(differences, 0).pvalue  # the second smallest of three counts twofold
    half = 100 * half_width(differences.tolist())
    assert said.startswith("Take finetune, the best by mean accuracy (91.0 % ± 2.5, 3 seeds). It gains ")
    assert f"{100 * differences.mean():.1f} ± {half:.1f} points over feature_extraction, the next best" in said
    assert p < 0.001
    assert "and the cheapest (shown: adjusted p < 0.001, 3 common seeds)" in said
    assert "for 12 times the time (60.0 s against 5.0 s)." in said
    assert (
        "Pretraining gains 40.8 ± 0.7 points (finetune over scratch; not among the planned tests: p < 0.001 by itself"
        in said
    )


def test_decision_takes_the_cheaper_row_where_the_best_is_not_shown_to_be_better(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 5)
    rescored(outputs, "scratch", [0.60, 0.605, 0.59], 1)
    said = decided(outputs).sentence
    assert said.startswith("Take feature_extraction (87.5 % ± 1.2, 3 seeds): finetune has the best mean accuracy")
    assert "but that it is better is not shown (+1.5 ± " in said
    assert "and it takes 12 times the time (60.0 s against 5.0 s)." in said
    assert "feature_extraction gains 27.7 ± " in said
    assert "over scratch, the cheapest (shown: adjusted p" in said


def test_decision_does_not_take_a_row_far_behind_because_its_seeds_scatter(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.90, 0.90, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.85, 0.60, 0.44], 5)
    rescored(outputs, "scratch", [0.30, 0.305, 0.29], 58)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy")


def test_decision_takes_a_cheaper_row_that_is_two_points_behind(outputs: Path) -> None:
    ahead, behind = [0.86, 0.81, 0.81], [0.82, 0.80, 0.80]
    assert np.mean(np.subtract(ahead, behind)) > 0.02, "by a rounding error"
    rescored(outputs, "finetune", ahead, 60)
    rescored(outputs, "feature_extraction", behind, 5)
    rescored(outputs, "scratch", [0.60, 0.605, 0.59], 1)
    assert decided(outputs).sentence.startswith("Take feature_extraction (80.7 %")


def test_decision_does_not_take_a_row_that_saves_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 57)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy")


def test_decision_takes_no_row_that_a_cheaper_one_beats(outputs: Path) -> None:
    """The scattered row in the middle is not shown to be worse; the cheap one is, and is better than that."""
    rescored(outputs, "finetune", [0.900, 0.900, 0.900], 60)
    rescored(outputs, "feature_extraction", [0.894, 0.895, 0.896], 1)
    rescored(outputs, "partial", [0.870, 0.900, 0.888], 10)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy (90.0 %")


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_rows_equal_in_every_seed_the_cheaper_is_taken(seeds: int, outputs: Path) -> None:
    rescored(outputs, "finetune", [0.9, 0.91, 0.92][:seeds], 60)
    rescored(outputs, "scratch", [0.9, 0.91, 0.92][:seeds], 1)
    said = decided(outputs).sentence
    assert said.startswith("Take scratch (9")
    assert "finetune has the same accuracy in every seed, and takes 60 times the time" in said


def test_a_row_that_lacks_a_seed_is_said_to_lose_where_it_does(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rescored(outputs, "finetune", [0.93, 0.915], 60)
    rescored(outputs, "scratch", [0.95, 0.94, 0.80], 60)
    assert "It loses 2.2 ± 3.2 points in common seeds to scratch, the next best" in decided(outputs).sentence
    compared(outputs, "demo")
    told = " ".join(capsys.readouterr().out.split())
    assert "finetune has seeds 0, 1, of seeds 0, 1, 2: means are over different runs" in told


def test_a_tie_in_the_only_common_seed_is_no_tie(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.90, 0.95, 0.95], 60)
    rescored(outputs, "scratch", [0.90], 1)
    assert decided(outputs).sentence.startswith("By mean accuracy alone take finetune (93.3 %")


def test_a_single_run_of_a_cheaper_row_beats_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 5)
    rescored(outputs, "scratch", [0.89], 1)
    assert decided(outputs).sentence.startswith("Take feature_extraction (87.5 %")


def test_two_seeds_decide_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.90], 60)
    rescored(outputs, "scratch", [0.45, 0.55], 5)
    said = decided(outputs).sentence
    assert said.startswith("Take finetune, the best by mean accuracy")
    assert "(not shown: adjusted p = 0.08" in said


def test_decision_says_when_pretraining_loses(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.80, 0.81, 0.80], 60)
    rescored(outputs, "scratch", [0.90, 0.91, 0.905], 50)
    assert "Pretraining loses 10.2 ± " in decided(outputs).sentence


def test_decision_over_several_tasks(outputs: Path) -> None:
    for data in ("digits", "pets"):
        for strategy, skill in {"finetune": 2.6, "scratch": 0.4}.items():
            for seed in range(3):
                write_run(outputs, strategy=strategy, seed=seed, data=data, skill=skill)
    decision = decided(outputs)
    assert decision.sentence.startswith("Take finetune on 2 of 2 tasks. On 2 of 2 the best row is shown")
    assert [line.split(":")[0] for line in decision.tasks] == ["digits", "pets"]


def test_ties_and_losses_over_several_tasks(outputs: Path) -> None:
    for data, fine, scratch in (("digits", [0.9, 0.9], [0.9, 0.9]), ("pets", [0.93, 0.915], [0.95, 0.94, 0.80])):
        rescored(outputs, "finetune", fine, 60, data=data)
        rescored(outputs, "scratch", scratch, 1, data=data)
    assert decided(outputs).tasks == [
        "digits: take scratch (90.0 %); finetune (90.0 %) is as accurate in every seed and takes 60 times the time.",
        "pets: take finetune (92.3 %), though 2.2 ± 3.2 points behind scratch (89.7 %) over common seeds"
        " (not shown: adjusted p = 0.07).",
    ]
