"""Logistic regression and ridge: heads for raw features, against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe import Logistic, Ridge
from probe.problems import Rows, reference, widened


def test_the_head_is_folded_back_to_raw_features(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    for probe in (Logistic(scale=0, grid=[1e-3, 1e-1]), Ridge(grid=[1.0, 10.0])):
        fit = probe.fit(x, y, val_x, val_y, 10)
        accuracy = ((val_x @ fit.head.weight.T + fit.head.bias).argmax(1) == val_y).float().mean()
        row = fit.chosen
        assert float(accuracy) == pytest.approx(row["val_accuracy"], abs=1e-6)
        assert row["val_accuracy"] == max(other["val_accuracy"] for other in fit.table)


def test_bfloat16_features_are_fitted_as_their_float32_values(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    low, val_low = x.bfloat16(), val_x.bfloat16()
    one = Logistic(scale=0).fit(low, y, val_low, val_y, 10)
    two = Logistic(scale=0).fit(low.float(), y, val_low.float(), val_y, 10)
    assert one.head.weight.dtype == torch.float32
    assert torch.equal(one.head.weight, two.head.weight)


def test_the_same_input_gives_the_same_bytes(digits: Rows) -> None:
    one, two = Logistic(scale=0).fit(*digits, 10), Logistic(scale=0).fit(*digits, 10)
    assert torch.equal(one.head.weight, two.head.weight)
    assert torch.equal(one.head.bias, two.head.bias)
    assert one.table == two.table


def test_a_class_missing_from_training_is_never_predicted(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    kept = y != 4
    fit = Logistic(scale=0).fit(x[kept], y[kept], val_x, val_y, 10)
    logits = val_x @ fit.head.weight.T + fit.head.bias
    assert torch.isfinite(logits).all()
    assert not (logits.argmax(1) == 4).any()
    assert not fit.head.weight[4].any()
    assert float(fit.head.bias[4]) == -10
    assert float((logits.argmax(1) == val_y)[val_y != 4].float().mean()) > 0.9


@pytest.mark.parametrize("c", [1e-3, 1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_two_classes_have_scikit_learns_c(digits: Rows, classes: int, c: float) -> None:
    """It has one vector for two classes, the difference of ours; the third class here has no rows."""
    kept = digits[1] < 2
    x, y = digits[0][kept], digits[1][kept]
    fit = Logistic(scale=0, grid=[c], tolerance=1e-9).fit(x, y, x, y, classes)
    weight, bias = reference(x, y, c)
    assert weight.shape == (1, 64)
    ours = fit.head.weight.detach().double(), fit.head.bias.detach().double()
    for own, theirs in zip(ours, (weight[0], bias[0]), strict=True):
        difference = own[1] - own[0]
        assert float((difference - theirs).norm()) <= 1e-4 * float(theirs.norm())


def test_one_class_alone_is_refused(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    with pytest.raises(UserError, match="fewer than two classes"):
        Logistic(scale=0).fit(x[y == 1], y[y == 1], val_x, val_y, 10)


def test_ridge_is_the_closed_form(digits: Rows) -> None:
    for x in (digits[0], widened(digits[0])[:50]):
        y = digits[1][: len(x)]
        fit = Ridge(grid=[10.0]).fit(x, y, x[:0], y[:0], 10)
        centred = x.double() - x.double().mean(0)
        targets = functional.one_hot(y, 10).double()
        gram = centred.T @ centred + 10 * torch.eye(x.shape[1], dtype=torch.float64)
        expected = torch.linalg.solve(gram, centred.T @ (targets - targets.mean(0))).T
        assert torch.allclose(fit.head.weight.double(), expected, atol=1e-5)
        assert fit.probabilities is False
        assert fit.table[0]["val_nll"] is None


def test_ridge_predicts_as_scikit_learns_classifier(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    fit = Ridge(grid=[1.0]).fit(x, y, val_x, val_y, 10)
    theirs = RidgeClassifier(alpha=1.0).fit(x.double().numpy(), y.numpy()).predict(val_x.double().numpy())
    own = (val_x @ fit.head.weight.T + fit.head.bias).argmax(1).numpy()
    assert np.mean(own == theirs) >= 0.995


def test_scale_is_folded_back(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    spread = (x - x.mean(0)).square().mean(0).sqrt()
    factor = (spread + 1e-3 * spread.mean()) ** -0.5
    scaled = Logistic(grid=[1.0], scale=0.5).fit(x, y, val_x, val_y, 10)
    by_hand = Logistic(grid=[1.0], scale=0).fit(x * factor, y, val_x * factor, val_y, 10)
    ours = val_x @ scaled.head.weight.T + scaled.head.bias
    theirs = (val_x * factor) @ by_hand.head.weight.T + by_hand.head.bias
    assert torch.allclose(ours, theirs, atol=1e-3)
    plain = Logistic(grid=[1.0], scale=0).fit(x, y, val_x, val_y, 10)
    assert not torch.allclose(ours, val_x @ plain.head.weight.T + plain.head.bias, atol=1e-2)
