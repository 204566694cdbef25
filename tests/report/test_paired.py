"""Paired tests between rows, against scipy's."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from headstart.errors import UserError
from headstart.report.stats.contrast import verdicts
from headstart.report.stats.families import families, holm
from headstart.report.study.groups import compare
from headstart.report.study.read import read
from report.studies import looked_at, made, read_results, table
from study_files import write_demo, write_run


def test_pairs_equal_scipys_paired_t_test(study: Path) -> None:
    runs = read_results(study)
    strategies = sorted({strategy for strategy, _ in runs})
    rows = {frozenset((row["row"], row["against"])): row for row in table(study, "pairs.csv")}
    assert len(rows) == len(table(study, "pairs.csv")) == 10
    p_values = []
    for pair in combinations(strategies, 2):
        row = rows[frozenset(pair)]
        ours = [[runs[row[side], seed]["test"]["accuracy"] for seed in range(3)] for side in ("row", "against")]
        test = stats.ttest_rel(*ours)
        low, high = test.confidence_interval(0.95)
        assert float(row["difference"]) == pytest.approx(np.mean(ours[0]) - np.mean(ours[1]), rel=1e-9)
        assert float(row["difference"]) >= 0
        assert float(row["interval"]) == pytest.approx((high - low) / 2, rel=1e-9)
        assert float(row["p_seeds"]) == pytest.approx(test.pvalue, rel=1e-9)
        assert row["seeds"] == "0 1 2"
        p_values.append((float(row["p"]), float(row["p_adjusted"]), row["shown"]))
    highest = 0.0
    for rank, (p, adjusted, shown) in enumerate(sorted(p_values)):
        highest = max(highest, min(1.0, (10 - rank) * p))
        assert adjusted == pytest.approx(highest)
        assert shown == str(adjusted <= 0.05).lower()


def test_images_that_one_row_alone_got_right(study: Path) -> None:
    runs = read_results(study)
    for row in table(study, "pairs.csv"):
        right = [
            [one["label"] == one["predicted"] for seed in range(3) for one in runs[row[side], seed]["rows"]]
            for side in ("row", "against")
        ]
        assert int(row["right_alone"]) == sum(a and not b for a, b in zip(*right, strict=True))
        assert int(row["there_alone"]) == sum(b and not a for a, b in zip(*right, strict=True))
        assert int(row["images"]) == 1200


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds_that_overlap_in_part(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path, strategy="finetune", seed=seed)
    for seed in (1, 2, 3):
        write_run(tmp_path, strategy="scratch", seed=seed, skill=1.5)
    _, family = looked_at(tmp_path)
    runs = read_results(tmp_path)
    (pair,) = family.pairs
    ours = [[runs[strategy, seed]["test"]["accuracy"] for seed in (1, 2)] for strategy in ("finetune", "scratch")]
    assert pair.repeats == [(1, -1), (2, -1)]
    assert pair.test is not None
    assert pair.test.p_seeds == pytest.approx(stats.ttest_rel(*ours).pvalue)
    assert pair.gain == pytest.approx(np.mean(ours[0]) - np.mean(ours[1]))
    assert pair.turned().gain == -pair.gain


def test_one_common_seed_is_tested_by_mcnemar(tmp_path: Path) -> None:
    write_run(tmp_path, strategy="finetune", seed=0)
    write_run(tmp_path, strategy="scratch", seed=0, skill=1.5)
    write_run(tmp_path, strategy="ridge", seed=4)
    _, family = looked_at(tmp_path)
    (pair,) = family.tested
    assert pair.alone is not None
    assert pair.test is not None
    assert pair.test.basis == "images, one seed"
    assert pair.test.p_seeds is None
    assert pair.p == pytest.approx(stats.binomtest(pair.alone[0], sum(pair.alone)).pvalue, rel=1e-9)
    assert {pair.untested for pair in family.pairs} == {"", "no common seed"}
    for run in pair.one.runs:
        (run.folder / "predictions.csv").unlink()
    _, family = looked_at(tmp_path)
    assert family.tested == []
    assert {pair.untested for pair in family.pairs} == {"one common seed, no readable predictions", "no common seed"}


def test_other_test_images_are_not_paired(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, strategy="finetune", seed=seed)
        write_run(tmp_path, strategy="smaller", seed=seed, n_test=300)
        write_run(tmp_path, strategy="replaced", seed=seed, update={"digests": {"data": f"other files {seed}"}})
        write_run(tmp_path, strategy="less", seed=seed, changes={"data.val_fraction": 0.4})
        write_run(tmp_path, strategy="unknown", seed=seed, update={"digests": {}})
    _, family = looked_at(tmp_path)
    by = {group.strategy: group for group in family.rows}
    for strategy, common in {"smaller": 0, "replaced": 0, "less": 3, "unknown": 3}.items():
        pair = family.between(by["finetune"], by[strategy])
        assert len(pair.runs) == common, strategy
        assert pair.untested == ("" if common else "other test images")
    for run in by["unknown"].runs:
        (run.folder / "predictions.csv").unlink()
    _, family = looked_at(tmp_path)
    by = {group.strategy: group for group in family.rows}
    assert family.between(by["finetune"], by["unknown"]).runs == []
    assert len(family.between(by["finetune"], by["less"]).runs) == 3


def test_the_same_difference_in_every_seed_is_tested_by_images(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, strategy="finetune", seed=seed, skill=3, update={"test": {"accuracy": 0.9}})
        write_run(tmp_path, strategy="scratch", seed=seed, skill=1.5, update={"test": {"accuracy": 0.6}})
    _, family = looked_at(tmp_path)
    (pair,) = family.pairs
    assert pair.test is not None
    assert (pair.test.p_seeds, pair.test.basis) == (None, "images")
    assert pair.shown
    for run in pair.one.runs:
        (run.folder / "predictions.csv").unlink()
    _, family = looked_at(tmp_path)
    (pair,) = family.pairs
    assert pair.p is None
    assert pair.untested == "the same difference in every seed, no readable predictions"


def test_p_values_and_intervals_are_those_of_students_formulas(tmp_path: Path) -> None:
    """With 1 and 2 degrees of freedom Student's t has closed forms; the pairs of one task have 2 and 3 seeds."""
    for strategy, seeds in {"finetune": (0, 1, 2), "scratch": (0, 1, 2), "ema": (1, 2)}.items():
        for seed in seeds:
            write_run(tmp_path, strategy=strategy, seed=seed, skill=1.5 if strategy == "scratch" else 2.4)
    _, family = looked_at(tmp_path)
    runs = read_results(tmp_path)
    assert sorted(len(pair.repeats) for pair in family.tested) == [2, 2, 3]
    for pair in family.tested:
        differences = [
            runs[pair.one.strategy, seed]["test"]["accuracy"] - runs[pair.other.strategy, seed]["test"]["accuracy"]
            for seed, _ in pair.repeats
        ]
        error = np.std(differences, ddof=1) / math.sqrt(len(differences))
        t = abs(np.mean(differences)) / error
        p = 1 - 2 / math.pi * math.atan(t) if len(differences) == 2 else 1 - t / math.sqrt(2 + t**2)
        quantile = math.tan(math.pi * 0.475) if len(differences) == 2 else 0.95 * math.sqrt(2 / (1 - 0.95**2))
        assert pair.test is not None
        assert pair.test.p_seeds == pytest.approx(p, rel=1e-9)
        assert pair.difference is not None
        assert pair.difference.interval == pytest.approx(quantile * error, rel=1e-9)


def write_folds(outputs: Path, strategies: tuple[str, ...], seeds: range) -> None:
    """Runs of every strategy on three folds of a data set, each fold with test images of its own."""
    for strategy in strategies:
        for seed in seeds:
            for fold in range(3):
                changes = {"data.folds": 3, "data.fold": fold}
                folder = write_run(outputs, strategy=strategy, seed=seed, n_test=40 + fold, changes=changes)
                file = folder / "predictions.csv"
                lines = file.read_text().splitlines()
                names = lines[0].split(",")
                cells = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
                texts = [",".join((cell | {"name": f"fold{fold}-{cell['name']}"}).values()) for cell in cells]
                file.write_text("\n".join([lines[0], *texts]) + "\n")


def test_folds_are_repeats(tmp_path: Path) -> None:
    write_folds(tmp_path, ("finetune", "scratch"), range(1))
    assert "Folds are counted as repeats, but they share training images" in made(tmp_path, "demo", "--no-plots")
    (row,) = table(tmp_path, "pairs.csv")
    assert row["seeds"] == "0/fold0 0/fold1 0/fold2"
    assert int(row["images"]) == 40 + 41 + 42  # the folds are one test set
    found = {(run["strategy"], run["fold"]): float(run["test.accuracy"]) for run in table(tmp_path, "runs.csv")}
    ours, theirs = ([found[row[side], str(fold)] for fold in range(3)] for side in ("row", "against"))
    assert float(row["p"]) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-9)
    summary = {each["strategy"]: each for each in table(tmp_path)}
    assert len(summary) == 2  # the fold tells no rows apart
    assert float(summary[row["row"]]["accuracy_mean"]) == pytest.approx(np.mean(ours))
    _, family = looked_at(tmp_path)
    (pair,) = family.pairs
    assert pair.noun == "fold"


def test_folds_of_several_seeds_are_paired_by_both(tmp_path: Path) -> None:
    write_folds(tmp_path, ("finetune", "scratch"), range(2))
    _, family = looked_at(tmp_path)
    (pair,) = family.pairs
    assert [str(repeat) for repeat in pair.repeats] == [f"{seed}/fold{fold}" for seed in range(2) for fold in range(3)]
    assert pair.noun == "repeat"
    found = verdicts(pair)
    assert found is not None
    assert found.seeds == 2
    assert len(found.names()) == len(found.labels) == 40 + 41 + 42


def test_each_row_is_tested_against_the_cheapest_or_the_reference(tmp_path: Path) -> None:
    write_demo(tmp_path)
    comparison = compare(read(tmp_path / "demo"))
    for reference, expected in {None: "feature_extraction", "scratch": "scratch"}.items():
        (family,) = families(comparison, reference)
        assert family.reference is not None
        assert family.reference.strategy == expected
        assert {pair.other.strategy for pair in family.pairs} == {expected}
        assert {pair.one.strategy for pair in family.pairs} == {row.strategy for row in family.rows} - {expected}
        tested = [pair.p for pair in family.pairs if pair.p is not None]
        assert [pair.adjusted for pair in family.pairs] == holm(tested)
        one, other = (row for row in family.rows if row is not family.reference)
        outside = family.between(one, other)
        assert (outside.planned, outside.shown) == (False, False)
        assert outside.p is not None


def test_a_reference_that_scatters_does_not_widen_the_interval_of_other_rows(tmp_path: Path) -> None:
    for seed, skill in enumerate((0.2, 2.4, 4.0)):
        write_run(tmp_path, strategy="scratch", seed=seed, skill=skill)
        for strategy in ("finetune", "head_then_all"):
            write_run(tmp_path, strategy=strategy, seed=seed)
    (family,) = families(compare(read(tmp_path / "demo")), "scratch")
    rows = {row.strategy: row for row in family.rows}
    outside = family.between(rows["head_then_all"], rows["finetune"]).test
    assert outside is not None
    assert outside.half < 0.1
    assert all(pair.test is not None and pair.test.half > 0.4 for pair in family.pairs)


def test_a_wrong_reference_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    write_demo(tmp_path)
    comparison = compare(read(tmp_path / "demo"))
    with pytest.raises(UserError, match=r"--reference: no row is called 'finetun'\. Did you mean 'finetune'"):
        families(comparison, "finetun")
    with pytest.raises(UserError, match="--reference and --all-pairs: give one of them"):
        families(comparison, "finetune", all_pairs=True)
