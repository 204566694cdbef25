"""The solver's optimum against scikit-learn's, and against a certificate in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from headstart.probe import GRID, Logistic, Targets
from probe.problems import Rows, objective, reference, widened


@pytest.mark.parametrize("c", [1e-6, 1e-3, 1.0, 1e5])
def test_objective_is_never_above_scikit_learns(digits: Rows, c: float) -> None:
    x, y, val_x, val_y = digits
    weight, bias = reference(x, y, c)
    best = objective(weight, bias, x, y, c)
    grid = [value for value in GRID if value < c * 0.99] + [c]
    heads = Logistic(scale=0, grid=grid)._solve(x - x.mean(0), Targets(y, 10), grid)
    ours = objective(heads.weight[-1], heads.bias[-1] - heads.weight[-1] @ x.mean(0), x, y, c)
    assert ours <= best * (1 + 1e-4)
    theirs = (val_x.double() @ weight.T + bias).argmax(1) == val_y
    own = (val_x - x.mean(0)) @ heads.weight[-1].T + heads.bias[-1]
    assert abs(float(theirs.float().mean() - (own.argmax(1) == val_y).float().mean())) <= 0.005


@pytest.mark.parametrize("rows", [600, 50])
def test_every_value_has_a_certificate(digits: Rows, rows: int) -> None:
    """The penalty makes the objective 1-strongly convex in the weights, so ||gradient||^2 / 2 bounds what is left."""
    x, y = widened(digits[0])[:rows], digits[1][:rows]
    x = x - x.mean(0)
    heads = Logistic(scale=0)._solve(x, Targets(y, 10), list(GRID))
    assert heads.weight.shape == (45, 10, 320)
    assert all(facts["converged"] for facts in heads.facts)
    for c, weight, bias in zip(GRID, heads.weight.double(), heads.bias.double(), strict=True):
        miss = (x.double() @ weight.T + bias).softmax(1) - functional.one_hot(y, 10)
        gap = 0.5 * (c * miss.T @ x.double() + weight).square().sum()
        assert float(gap) <= 1e-4 * objective(weight, bias, x, y, c), c


@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_smoothed_labels_reach_scikit_learns_objective_on_rows_repeated_for_every_class(
    weighted: bool, digits: Rows
) -> None:
    """A class without rows has its share of every target, and so an optimum like the others."""
    kept = digits[1] != 4
    x, y = digits[0][kept] - digits[0][kept].mean(0), digits[1][kept]
    weights = 0.5 + torch.arange(len(y)).remainder(3).float() if weighted else None
    wanted = 0.9 * functional.one_hot(y, 10).double() + 0.01
    counts = wanted if weights is None else weights.double()[:, None] * wanted
    rows, labels = x.repeat_interleave(10, 0).double().numpy(), np.tile(np.arange(10), len(y))
    heads = Logistic(scale=0)._solve(x, Targets(y, 10, weights, smoothing=0.1), list(GRID))
    assert all(facts["converged"] for facts in heads.facts)

    def objective(weight: Tensor, bias: Tensor, c: float) -> float:
        logits = x.double() @ weight.double().T + bias.double()
        return float(-c * (counts * logits.log_softmax(1)).sum() + 0.5 * weight.double().square().sum())

    for at in (0, 12, 24, 44):
        model = LogisticRegression(C=GRID[at], tol=1e-10, max_iter=1000, solver="newton-cholesky")
        model.fit(rows, labels, sample_weight=counts.flatten().numpy())
        best = objective(torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_), GRID[at])
        assert objective(heads.weight[at], heads.bias[at], GRID[at]) <= best * (1 + 1e-6), GRID[at]


def test_a_lone_weak_value_is_solved_from_nothing(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    alone = Logistic(scale=0, grid=[1e3]).fit(x, y, val_x, val_y, 10)
    weight, bias = reference(x, y, 1e3)
    assert alone.chosen["converged"]
    assert objective(alone.head.weight, alone.head.bias, x, y, 1e3) <= objective(weight, bias, x, y, 1e3) * (1 + 1e-4)


def test_too_few_steps_are_not_called_converged(digits: Rows, caplog: pytest.LogCaptureFixture) -> None:
    x, y, val_x, val_y = digits
    fit = Logistic(scale=0, grid=[1e3], max_iterations=1).fit(x, y, val_x, val_y, 10)
    assert not fit.table[0]["converged"]
    assert "C = 1000" in caplog.text


@pytest.mark.parametrize("c", [1.0, 1e3, 1e5])
def test_features_of_very_different_scales_are_solved(digits: Rows, c: float) -> None:
    """As of several stages of a network; weights that drift for all classes alike stop short here."""
    x, y = digits[0] * torch.logspace(0, -3, digits[0].shape[1]), digits[1]
    x = x - x.mean(0)
    weight, bias = reference(x, y, c)
    heads = Logistic(scale=0)._solve(x, Targets(y, 10), [value for value in GRID if value < c * 0.99] + [c])
    assert objective(heads.weight[-1], heads.bias[-1], x, y, c) <= objective(weight, bias, x, y, c) * (1 + 1e-5)
    assert heads.weight.sum(1).norm() < 1e-3 * heads.weight.norm()
