"""What a report says is shown: paired tests, gains per cost, classes, calibration and changed images, recomputed."""

from __future__ import annotations

import csv
import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from headstart.compare import main
from headstart.errors import UserError
from headstart.report.answers import Answers
from headstart.report.calibration import reliability
from headstart.report.changed import verdicts
from headstart.report.classes import ClassChange, most_changed
from headstart.report.compute import is_lower_bound, training_gmacs
from headstart.report.groups import Comparison, Stat, compare
from headstart.report.paired import Family, families, holm
from headstart.report.study import read
from headstart.report.worth import BUDGETS, advice, frontier
from study_files import write_demo, write_run


def table(outputs: Path, file: str) -> list[dict[str, str]]:
    """The rows of one of the report's CSV files."""
    with (outputs / "demo/report" / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def results(outputs: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Every result.json with its predictions, by strategy and seed."""
    found = {}
    for path in (outputs / "demo").glob("*/result.json"):
        result = json.loads(path.read_text())
        with (path.parent / "predictions.csv").open(newline="") as lines:
            result["rows"] = list(csv.DictReader(lines))
        found[result["strategy"], result["seed"]] = result
    return found


def looked_at(outputs: Path) -> tuple[Comparison, Family]:
    """The study's comparison and its one task."""
    comparison = compare(read(outputs / "demo"))
    (family,) = families(comparison)
    return comparison, family


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo and two further strategies, compared: ridge has no probabilities, last_layers freezes the rest."""
    outputs = tmp_path_factory.mktemp("outputs")
    write_demo(outputs)
    for seed in range(3):
        write_run(outputs, strategy="ridge", seed=seed, skill=2.2)
        write_run(outputs, strategy="last_layers", seed=seed, skill=2.5)
    assert main(["demo", "--output-dir", str(outputs), "--no-plots"]) == 0
    return outputs


def test_pairs_equal_scipys_paired_t_test(demo: Path) -> None:
    runs = results(demo)
    strategies = sorted({strategy for strategy, _ in runs})
    rows = {frozenset((row["row"], row["against"])): row for row in table(demo, "pairs.csv")}
    assert len(rows) == len(table(demo, "pairs.csv")) == 10
    p_values = []
    for pair in combinations(strategies, 2):
        row = rows[frozenset(pair)]
        ours = [[runs[row[side], seed]["test"]["accuracy"] for seed in range(3)] for side in ("row", "against")]
        test = stats.ttest_rel(*ours)
        low, high = test.confidence_interval(0.95)
        assert float(row["difference"]) == pytest.approx(np.mean(ours[0]) - np.mean(ours[1]), rel=1e-9)
        assert float(row["difference"]) >= 0
        assert float(row["interval"]) == pytest.approx((high - low) / 2, rel=1e-9)
        assert float(row["p"]) == pytest.approx(test.pvalue, rel=1e-9)
        assert row["seeds"] == "0 1 2"
        p_values.append((float(row["p"]), float(row["p_adjusted"]), row["shown"]))
    highest = 0.0
    for rank, (p, adjusted, shown) in enumerate(sorted(p_values)):
        highest = max(highest, min(1.0, (10 - rank) * p))
        assert adjusted == pytest.approx(highest)
        assert shown == str(adjusted <= 0.05).lower()


def test_images_that_one_row_alone_got_right(demo: Path) -> None:
    runs = results(demo)
    for row in table(demo, "pairs.csv"):
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
    runs = results(tmp_path)
    (pair,) = family.pairs
    ours = [[runs[strategy, seed]["test"]["accuracy"] for seed in (1, 2)] for strategy in ("finetune", "scratch")]
    assert pair.seeds == [1, 2]
    assert pair.p == pytest.approx(stats.ttest_rel(*ours).pvalue)
    assert pair.gain == pytest.approx(np.mean(ours[0]) - np.mean(ours[1]))
    assert pair.turned().gain == -pair.gain


def test_p_values_and_intervals_are_those_of_students_formulas(tmp_path: Path) -> None:
    """With 1 and 2 degrees of freedom Student's t has closed forms; the pairs of one task have 2 and 3 seeds."""
    for strategy, seeds in {"finetune": (0, 1, 2), "scratch": (0, 1, 2), "ema": (1, 2)}.items():
        for seed in seeds:
            write_run(tmp_path, strategy=strategy, seed=seed, skill=1.5 if strategy == "scratch" else 2.4)
    _, family = looked_at(tmp_path)
    runs = results(tmp_path)
    assert sorted(len(pair.seeds) for pair in family.tested) == [2, 2, 3]
    for pair in family.tested:
        differences = [
            runs[pair.one.strategy, seed]["test"]["accuracy"] - runs[pair.other.strategy, seed]["test"]["accuracy"]
            for seed in pair.seeds
        ]
        error = np.std(differences, ddof=1) / math.sqrt(len(differences))
        t = abs(np.mean(differences)) / error
        p = 1 - 2 / math.pi * math.atan(t) if len(differences) == 2 else 1 - t / math.sqrt(2 + t**2)
        quantile = math.tan(math.pi * 0.475) if len(differences) == 2 else 0.95 * math.sqrt(2 / (1 - 0.95**2))
        assert pair.p == pytest.approx(p, rel=1e-9)
        assert pair.difference is not None
        assert pair.difference.interval == pytest.approx(quantile * error, rel=1e-9)


def test_one_common_seed_is_not_tested(tmp_path: Path) -> None:
    write_run(tmp_path, strategy="finetune", seed=0)
    write_run(tmp_path, strategy="scratch", seed=0, skill=1.5)
    write_run(tmp_path, strategy="ridge", seed=4)
    _, family = looked_at(tmp_path)
    assert family.tested == []
    assert {pair.untested for pair in family.pairs} == {"one common seed", "no common seed"}


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


def test_the_same_difference_in_every_seed_is_no_evidence(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, strategy="finetune", seed=seed, update={"test": {"accuracy": 0.9}})
        write_run(tmp_path, strategy="scratch", seed=seed, update={"test": {"accuracy": 0.6}})
    _, family = looked_at(tmp_path)
    (pair,) = family.pairs
    assert pair.p is None
    assert pair.untested == "the same difference in every seed"


def test_training_macs_count_backward_passes(demo: Path) -> None:
    comparison, _ = looked_at(demo)
    for group in comparison.groups:
        for run in group.runs:
            result = run.result
            each, forwards = result["gmacs"], result["backbone_forwards"] - result["n_test"]
            back = 2 * result["epochs"] * result["n_train"] if run.strategy in ("finetune", "scratch") else 0
            assert training_gmacs(run) == pytest.approx(each * (forwards + back))
            assert is_lower_bound(run) == (run.strategy == "last_layers")


def test_gains_per_cost(demo: Path) -> None:
    runs = results(demo)

    def mean(strategy: str, *path: str) -> float:
        values = []
        for seed in range(3):
            value: Any = runs[strategy, seed]
            for part in path:
                value = value[part]
            values.append(value)
        return float(np.mean(values))

    rows = [row for row in table(demo, "worth.csv") if row["step"] == "cheapest"]
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


def test_recall_by_class(demo: Path) -> None:
    runs = results(demo)
    rows = {(row["row"], row["class"]): row for row in table(demo, "per_class.csv")}
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


def test_class_differences(demo: Path) -> None:
    runs = results(demo)
    for row in table(demo, "class_differences.csv")[::3]:
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


def test_calibration_equals_the_results_error(demo: Path) -> None:
    comparison, _ = looked_at(demo)
    for group in comparison.groups:
        if group.strategy == "ridge":
            assert reliability(group.runs) is None
            continue
        for run in group.runs:
            found = reliability([run])
            assert found is not None
            assert found.error == pytest.approx(run.result["test"]["ece"], abs=2e-4)
            assert found.counts.sum() == 400
    rows = [row for row in table(demo, "calibration.csv") if row["row"] == "finetune"]
    assert len(rows) == 15
    right = sum(int(row["images"]) * float(row["accuracy"]) for row in rows if row["accuracy"])
    assert right == pytest.approx(400 * sum(results(demo)["finetune", seed]["test"]["accuracy"] for seed in range(3)))
    assert "ridge" not in {row["row"] for row in table(demo, "calibration.csv")}


def test_changed_images_add_up_to_the_difference_of_accuracies(demo: Path) -> None:
    runs = results(demo)
    rows = table(demo, "changed.csv")
    pairs = {(row["row"], row["against"]) for row in rows}
    assert len(pairs) == 2
    for pair in pairs:
        listed = [row for row in rows if (row["row"], row["against"]) == pair]
        means = [np.mean([runs[strategy, seed]["test"]["accuracy"] for seed in range(3)]) for strategy in pair]
        assert sum(float(row["change"]) for row in listed) / 400 == pytest.approx(means[0] - means[1])
        changes = [abs(float(row["change"])) for row in listed]
        assert changes == sorted(changes, reverse=True)
        assert min(changes) > 0
        first = listed[0]
        said = [runs[pair[0], seed]["rows"][int(first["index"])]["predicted"] for seed in range(3)]
        assert first["name"] == f"test[{first['index']}]"
        assert float(first["right_row"]) == pytest.approx(said.count(first["label"]) / 3)
        assert said.count(first["predicted_row"]) == max(said.count(one) for one in said)


def test_between_picks_two_rows(demo: Path, tmp_path: Path) -> None:
    assert main(["demo", "--output-dir", str(demo), "--no-plots", "--between", "scratch", "ridge"]) == 0
    assert {(row["row"], row["against"]) for row in table(demo, "changed.csv")} == {("scratch", "ridge")}
    assert main(["demo", "--output-dir", str(demo), "--no-plots"]) == 0
    with pytest.raises(UserError, match=r"no row is called 'ridg'. Did you mean 'ridge'\? Rows: "):
        main(["demo", "--output-dir", str(demo), "--no-plots", "--between", "scratch", "ridg"])
    with pytest.raises(UserError, match="not two rows of one task"):
        main(["demo", "--output-dir", str(demo), "--no-plots", "--between", "ridge", "ridge"])


def test_page_leads_with_the_decision_and_has_the_evidence_without_plots(demo: Path) -> None:
    text = (demo / "demo/report/index.html").read_text("utf-8")
    places = [text.index(words) for words in ('class="decision">', 'id="summary"', "What is shown", "Is it worth it?")]
    assert places == sorted(places)
    assert "Holm’s correction over all comparisons of a task (family size 10; 3 common seeds)" in text
    assert "“not shown” does not mean “no difference”" in text
    assert "Best for each budget" in text
    assert "Images that changed verdict" in text


def test_incomplete_predictions_do_not_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    lines = (folder / "predictions.csv").read_text().splitlines()
    (folder / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    (run,) = read(tmp_path / "demo").runs
    assert run.answers is None
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    (run,) = read(tmp_path / "demo").runs
    assert run.answers is not None
    assert run.answers.right.mean() == pytest.approx(run.accuracy)


def answered(labels: list[int], predicted: list[int], confidence: list[float]) -> Any:
    """A run with nothing but these answers."""
    kinds = np.array(labels, np.int32), np.array(predicted, np.int32), np.array(confidence)
    return type("Run", (), {"answers": Answers(*kinds, images="the same"), "classes": ["a", "b", "c"]})()


def test_bins_are_open_on_the_left() -> None:
    found = reliability([answered([0, 1, 2, 0], [0, 1, 0, 1], [0.2, 0.21, 1.0, 0.0])])
    assert found is not None
    assert {place: int(count) for place, count in enumerate(found.counts) if count} == {0: 1, 2: 1, 3: 1, 14: 1}
    assert found.error == pytest.approx((0.8 + 0.79 + 1.0 + 0.0) / 4)


def test_the_class_that_most_seeds_say() -> None:
    one = [answered([2, 2, 2], said, [0.5] * 3) for said in ([1, 2, 0], [2, 1, 0], [2, 0, 1])]
    other = [answered([2, 2, 2], [2, 0, 2], [0.5] * 3) for _ in range(3)]
    pair: Any = type("Pair", (), {"runs": list(zip(one, other, strict=True))})()
    found = verdicts(pair)
    assert found is not None
    assert found.said[0].tolist() == [2, 0, 0]
    assert (found.one.tolist(), found.other.tolist()) == ([2, 1, 0], [3, 0, 3])
    assert (found.gained, found.lost, found.turned) == (1, 2, (0, 1))
    assert found.order() == [2, 1, 0]
