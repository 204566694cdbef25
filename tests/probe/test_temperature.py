"""Scores turned into logits by one factor."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from headstart.models import weights
from headstart.probe import Logistic, Ridge
from headstart.probe.temperature import fit_scale
from probe.problems import Rows


def test_the_factor_is_the_one_with_the_highest_likelihood() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    for factor in (0.05, 1.0, 300.0):
        assert fit_scale(logits / factor, labels) == pytest.approx(factor, rel=0.03)


def test_the_odd_cases_have_a_finite_factor() -> None:
    right = torch.eye(3)
    sure = fit_scale(right, torch.arange(3))
    # of 3 images and one of unknown class: p = 3/4 + 1/4 * 1/3 = 5/6, so s = log(p / ((1 - p) / 2))
    assert sure == pytest.approx(math.log(10), rel=1e-5)
    assert fit_scale(right, torch.tensor([1, 2, 0])) == 1.0, "worse than chance"
    assert fit_scale(right[:0], torch.arange(0)) == 1.0


def test_ridge_scores_become_logits_that_are_about_as_good_as_a_logistic_heads(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    ridge, logistic = Ridge().fit(x, y, val_x, val_y, 10), Logistic().fit(x, y, val_x, val_y, 10)
    raw, scaled, good = (
        float(functional.cross_entropy(scores, val_y).detach())
        for scores in (ridge.head(val_x), ridge.scale * ridge.head(val_x), logistic.head(val_x))
    )
    assert raw > 1.5, "nearly the 2.3 of equal probabilities"
    assert scaled < 2 * good < 0.7
    assert logistic.scale == 1
    assert Ridge(refit=True).fit(x, y, val_x, val_y, 10).scale == ridge.scale, "found before validation rows are used"


def test_a_phase_after_a_ridge_head_starts_from_logits_with_the_same_answers(run_small: Callable[..., dict]) -> None:
    options = ("model=lenet5", "head=ridge", "epochs=1", "keep=all")
    (alone,) = run_small("strategy=feature_extraction", "strategy.start=scratch", *options)["phases"]
    result = run_small("strategy=head_then_all", "strategy.start=scratch", *options)
    fitted, learned = result["phases"]
    assert fitted["val_accuracy"] == alone["val_accuracy"]
    assert learned["start"]["val_accuracy"] == pytest.approx(fitted["val_accuracy"])
    assert fitted["scale"] > 2
    assert learned["start"]["val_loss"] < 1.5, "unscaled: about 2"
    head = weights.read(result["folder"] / "checkpoints" / "head" / "best.safetensors")[0]
    assert max(float(value.abs().max()) for name, value in head.items() if "bias" in name) > 1
