"""The probes against scikit-learn, closed forms and a float64 certificate, on the digits' 64 pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import Tensor
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe.newton import Problem, path
from headstart.probe import GRID, Logistic, Ridge

Rows = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Rows:
    """600 training and 400 validation rows of 64 pixels, with an offset that centring and folding must undo."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).float() / 4 + 3
    y = torch.from_numpy(labels).long()
    return x[:600], y[:600], x[600:1000], y[600:1000]


def objective(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, c: float) -> float:
    """scikit-learn's objective in float64."""
    logits = x.double() @ weight.double().T + bias.double()
    return float(c * functional.cross_entropy(logits, y, reduction="sum") + 0.5 * weight.double().square().sum())


def reference(x: Tensor, y: Tensor, c: float) -> tuple[Tensor, Tensor]:
    """scikit-learn's solution at tol=1e-10."""
    model = LogisticRegression(C=c, tol=1e-10, max_iter=20000).fit(x.double().numpy(), y.numpy())
    return torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)


def widened(x: Tensor) -> Tensor:
    """The same rows in 320 correlated features: fewer rows than features for a small cut."""
    mix = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)) / 8
    return torch.cat([x, (x @ mix).relu()], 1)


@pytest.mark.parametrize("c", [1e-6, 1e-3, 1.0, 1e5])
def test_objective_is_never_above_scikit_learns(digits: Rows, c: float) -> None:
    x, y, val_x, val_y = digits
    weight, bias = reference(x, y, c)
    best = objective(weight, bias, x, y, c)
    grid = [value for value in GRID if value < c * 0.99] + [c]
    heads = Logistic(scale=0, grid=grid)._solve(x - x.mean(0), y, 10, grid)
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
    heads = Logistic(scale=0)._solve(x, y, 10, list(GRID))
    assert heads.weight.shape == (45, 10, 320)
    assert all(facts["converged"] for facts in heads.facts)
    for c, weight, bias in zip(GRID, heads.weight.double(), heads.bias.double(), strict=True):
        miss = (x.double() @ weight.T + bias).softmax(1) - functional.one_hot(y, 10)
        gap = 0.5 * (c * miss.T @ x.double() + weight).square().sum()
        assert float(gap) <= 1e-4 * objective(weight, bias, x, y, c), c


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


def test_the_lowest_nll_is_chosen_then_stronger_regularisation() -> None:
    x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    y = torch.tensor([0, 0, 1, 1])
    sure = Logistic(scale=0, grid=[0.1, 10.0]).fit(x, y, x, y, 2)  # all accuracies 1, nll falls with C
    assert [row["val_accuracy"] for row in sure.table] == [1.0, 1.0]
    assert sure.chosen["value"] == 10.0
    assert Ridge(grid=[0.1, 10.0]).fit(x, y, x, y, 2).chosen["value"] == 10.0  # no nll: the stronger, which is the larger


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


def test_refit_uses_the_validation_rows_with_the_chosen_value(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    for probe in (Logistic, Ridge):
        plain, again = probe().fit(*digits, 10), probe(refit=True).fit(*digits, 10)
        assert again.chosen["value"] == plain.chosen["value"]
        both = probe(grid=[plain.chosen["value"]]).fit(torch.cat([x, val_x]), torch.cat([y, val_y]), x[:0], y[:0], 10)
        assert torch.allclose(again.head.weight, both.head.weight, atol=1e-6)
        assert not torch.allclose(again.head.weight, plain.head.weight, atol=1e-4)


def test_several_values_need_validation_rows_and_a_grid_needs_positive_numbers(digits: Rows) -> None:
    x, y, _, _ = digits
    with pytest.raises(UserError, match="validation"):
        Logistic(scale=0, grid=[1.0, 2.0]).fit(x, y, x[:0], y[:0], 10)
    for grid in ([], [0.0], [-1.0, 1.0]):
        with pytest.raises(UserError, match="grid"):
            Logistic(scale=0, grid=grid)


def test_all_classes_may_share_one_preconditioner(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.probe.newton.BLOCK_BYTES", 0)
    x, y = digits[0], digits[1]
    problem = Problem(x - x.mean(0), y, 10)
    _, _, converged = path(problem, list(GRID), 1e-5, 100)
    assert all(converged)
    assert problem.inverse is not None
    assert len(problem.inverse) == 1


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
