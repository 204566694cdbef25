"""The probes against scikit-learn, closed forms and a float64 certificate, on the digits' 64 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import Tensor
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe import GRID, LinearHeads, Logistic, NearestNeighbours, Ridge, Targets, beside, precondition
from headstart.probe.descent import _Stack
from headstart.probe.linear import whitened
from headstart.probe.newton import Problem, level, path

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


@pytest.mark.parametrize("weighted", [False, True])
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


@torch.no_grad()
def test_smoothed_labels_make_a_head_less_sure(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    for probe in (Logistic(grid=[100.0]), LinearHeads(lrs=[0.05])):
        plain, smooth = (probe.fit(x, y, val_x, val_y, 10, smoothing=share).head(x) for share in (0.0, 0.2))
        assert plain.softmax(1).amax(1).mean() > 0.95
        assert 0.7 < smooth.softmax(1).amax(1).mean() < 0.85, "0.8 + 0.2 / 10 is asked for"


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
    assert Ridge(grid=[0.1, 10.0]).fit(x, y, x, y, 2).chosen["value"] == 10.0  # no nll: the stronger wins


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


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_refit_uses_the_validation_rows_with_the_chosen_value(smoothing: float, digits: Rows) -> None:
    x, y, val_x, val_y = digits
    rows = torch.cat([x, val_x]), torch.cat([y, val_y]), x[:0], y[:0], 10
    for probe in (Logistic, Ridge):
        plain, again = (probe(refit=refit).fit(*digits, 10, smoothing=smoothing) for refit in (False, True))
        assert again.chosen["value"] == plain.chosen["value"]
        both = probe(grid=[plain.chosen["value"]]).fit(*rows, smoothing=smoothing)
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
    at, _ = curvature(digits, 0.1)
    alike = torch.ones(10, 1, at.features.shape[1])
    own = precondition.blocks(at)
    assert own is not None
    assert not torch.allclose(own(alike)[0], own(alike)[1], rtol=0.01)
    monkeypatch.setattr(precondition, "BYTES", 0)
    shared = precondition.blocks(at)
    assert shared is not None
    assert torch.allclose(shared(alike)[0], shared(alike)[1])
    x, y = digits[0], digits[1]
    z, _, penalty = whitened(x - x.mean(0))
    problem = Problem(z, Targets(y, 10), penalty)
    _, _, converged = path(problem, list(GRID), 1e-5, 100)
    assert all(converged)
    assert problem.inverse is not None
    assert not problem.paired


def curvature(digits: Rows, c: float) -> tuple[precondition.Curvature, Tensor]:
    """What preconditioners are made of, for two values of C and weighted rows, and the mean Hessian there."""
    x, y = digits[0], digits[1]
    z, _, penalty = whitened(x - x.mean(0))
    problem = Problem(z, Targets(y, 10), penalty)
    weight = path(problem, [c], 1e-5, 100)[0][0][:, None]
    state = problem.state(weight, problem.margins(weight), torch.tensor([c], dtype=torch.float64))
    probability, spread = problem.curvature(state.residual)
    penalty = problem.penalty + 1e-6
    importance = torch.arange(len(x)).remainder(3).float() + 1
    p, rows = probability[:, 0].double(), problem.features.double()
    covariance = torch.diag_embed(p.T) - p.T[:, :, None] * p.T[:, None]
    size = len(p) * rows.shape[1]
    hessian = torch.einsum("n,nkl,na,nb->kalb", importance.double(), covariance, rows, rows).reshape(size, size)
    hessian = 2 * c * hessian + torch.diag(penalty.double().repeat(10))
    twice = probability.repeat(1, 2, 1), spread.repeat(1, 2, 1)
    scale = torch.stack([c * importance, 3 * c * importance])
    return precondition.Curvature(problem.features, *twice, scale, penalty), hessian


def test_pairs_of_classes_are_the_whole_hessian(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precondition, "PAIRED", 45)  # all of them
    at, hessian = curvature(digits, 0.1)
    inverse = precondition.pairs(at)
    assert inverse is not None
    aim = level(torch.randn(10, 3, at.features.shape[1], generator=torch.Generator().manual_seed(0)))
    found = level(inverse(aim)).transpose(1, 2).flatten(0, 1).double()
    assert torch.allclose(hessian @ found, aim.transpose(1, 2).flatten(0, 1).double(), atol=0.02)


def test_pairs_are_left_alone_where_all_rows_weigh_alike_or_room_is_short(
    digits: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, _ = curvature(digits, 1e-6)
    assert precondition.pairs(at) is None
    at, _ = curvature(digits, 10.0)
    assert precondition.pairs(at) is not None
    monkeypatch.setattr(precondition, "BYTES", 2**20)
    assert precondition.pairs(at) is None
    assert precondition.blocks(at) is not None


@pytest.mark.parametrize("c", [1.0, 1e3, 1e5])
def test_features_of_very_different_scales_are_solved(digits: Rows, c: float) -> None:
    """As of several stages of a network; weights that drift for all classes alike stop short here."""
    x, y = digits[0] * torch.logspace(0, -3, digits[0].shape[1]), digits[1]
    x = x - x.mean(0)
    weight, bias = reference(x, y, c)
    heads = Logistic(scale=0)._solve(x, Targets(y, 10), [value for value in GRID if value < c * 0.99] + [c])
    assert objective(heads.weight[-1], heads.bias[-1], x, y, c) <= objective(weight, bias, x, y, c) * (1 + 1e-5)
    assert heads.weight.sum(1).norm() < 1e-3 * heads.weight.norm()


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


def test_a_rows_weight_is_how_often_it_counts(digits: Rows) -> None:
    """Integer weights are repetitions, and 0 leaves a row out."""
    x, y, val_x, val_y = digits
    x, y = x[:200], y[:200]
    weights = torch.arange(200).remainder(3).float()
    again = torch.arange(200).repeat_interleave(weights.long())
    for probe in (Logistic(grid=[0.01], scale=0), Ridge(grid=[10.0]), NearestNeighbours(k=[300])):
        weighed = probe.fit(x, y, val_x, val_y, 10, weights).head(val_x)
        repeated = probe.fit(x[again], y[again], val_x, val_y, 10).head(val_x)
        if isinstance(probe, NearestNeighbours):  # k counts rows, so the one vote that all share differs
            weighed, repeated = weighed.argmax(1), repeated.argmax(1)
        assert torch.allclose(weighed.float(), repeated.float(), atol=2e-2), probe
    heavy = LinearHeads(lrs=[0.05], epochs=5).fit(x, y, val_x, val_y, 10, 1 + 9 * (y == 3).float())
    plain = LinearHeads(lrs=[0.05], epochs=5).fit(x, y, val_x, val_y, 10)
    assert (heavy.head(val_x).argmax(1) == 3).sum() > (plain.head(val_x).argmax(1) == 3).sum()


def test_neighbours_vote_as_counted_by_hand(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    fit = NearestNeighbours(k=[1, 7, 5000], temperature=0.1).fit(x, y, val_x, val_y, 10)
    near, bank = functional.normalize(val_x), functional.normalize(x)
    for row in fit.table:
        similar, rows = (near @ bank.T).topk(row["value"], dim=1)
        votes = torch.zeros(len(val_y), 10)
        for query in range(len(val_y)):
            for s, at in zip(similar[query], rows[query], strict=True):
                votes[query, y[at]] += float((s / 0.1).exp())
        assert row["val_accuracy"] == pytest.approx(float((votes.argmax(1) == val_y).float().mean()))
    assert [row["value"] for row in fit.table] == [600, 7, 1], "more than all is all"
    assert fit.chosen["val_accuracy"] == max(row["val_accuracy"] for row in fit.table)
    assert torch.allclose(fit.head(val_x).exp().sum(1), torch.ones(len(val_y)), atol=1e-5)


def test_neighbours_in_pieces_are_the_same(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, val_x, val_y = digits
    for metric in ("cosine", "euclidean"):
        whole = NearestNeighbours(metric=metric).fit(x, y, val_x, val_y, 10)
        monkeypatch.setattr("headstart.probe.neighbours.ELEMENTS", 64 * 37)
        pieces = NearestNeighbours(metric=metric).fit(x, y, val_x, val_y, 10)
        monkeypatch.undo()
        assert torch.allclose(whole.head(val_x), pieces.head(val_x), atol=1e-4)
        assert whole.chosen["val_accuracy"] > 0.9


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_heads_trained_together_are_those_trained_alone(smoothing: float, digits: Rows) -> None:
    x, y, val_x, _ = digits
    options = {"epochs": 4, "batch_size": 128}
    both = LinearHeads(lrs=[0.01, 0.1], weight_decays=[0.0, 0.1], **options)
    (together,) = both.solve([x], Targets(y, 10, smoothing=smoothing), both.values, 3)
    for index, (lr, decay) in enumerate(both.values):
        head = torch.nn.Linear(64, 10)  # the same by torch's own SGD, on features prepared by hand
        torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
        spread = (x - x.mean(0)).square().mean(0).sqrt()
        factor = (spread + 1e-3 * spread.mean()) ** -0.5
        factor = factor / (factor * spread).square().mean().sqrt()
        groups = [{"params": [head.weight], "weight_decay": decay}, {"params": [head.bias]}]
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        generator = torch.Generator().manual_seed(3)
        for step in range(20):
            if step % 5 == 0:
                order = torch.randperm(600, generator=generator).split(128)
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.5 * (1 + np.cos(np.pi * step / 20))
            optimizer.zero_grad()
            rows = order[step % 5]
            logits = head((x[rows] - x.mean(0)) * factor)
            functional.cross_entropy(logits, y[rows], label_smoothing=smoothing).backward()
            optimizer.step()
        expected = head((val_x - x.mean(0)) * factor)
        assert torch.allclose(together.head(index)(val_x), expected, atol=1e-3), (lr, decay)
    assert torch.equal(both.fit(*digits, 10, seed=1).head.weight, both.fit(*digits, 10, seed=1).head.weight)
    assert not torch.equal(both.fit(*digits, 10, seed=1).head.weight, both.fit(*digits, 10, seed=2).head.weight)


@pytest.mark.parametrize("count", [2, 8])  # of float32 heads, few and many are multiplied in different orders
@pytest.mark.parametrize("weighted", [False, True])
def test_products_in_bfloat16_learn_the_same_heads_but_for_their_rounding(
    count: int, weighted: bool, digits: Rows
) -> None:
    x, y, val_x, val_y = digits
    weights = torch.arange(len(y)).remainder(3).float() if weighted else None
    rates = [0.01 * 1.5**step for step in range(count)]
    exact, rounded = (LinearHeads(lrs=rates, epochs=20, precision=name) for name in ("32", "bf16"))
    (wanted,), (found,) = (probe.solve([x], Targets(y, 10, weights), probe.values, 3) for probe in (exact, rounded))
    away = (found.weight - wanted.weight).norm(dim=(1, 2)) / wanted.weight.norm(dim=(1, 2))
    assert found.weight.dtype == torch.float32
    assert (away > 1e-5).all(), "float32 products would be as near as that"
    assert (away < 0.02).all()
    right = [(heads.logits(val_x).argmax(2) == val_y).float().mean(1) for heads in (wanted, found)]
    assert torch.allclose(*right, atol=0.01)


def test_no_class_is_rounded_more_than_the_others() -> None:
    """The last class is not stored: as minus the sum of the others' rounded logits it would gather their errors."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, generator=generator)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        stack = _Stack(x, torch.ones(2), torch.zeros(2), Targets(torch.arange(64), 100), dtype)
        weight = torch.randn(2, 100, 256, generator=torch.Generator().manual_seed(1))
        stack.weight.data = (weight - weight.mean(1, keepdim=True))[:, :-1].flatten(0, 1)
        found.append(stack.logits(x.to(dtype)).detach())
    assert found[0].shape == (2, 100, 64)
    assert found[0].sum(1).abs().max() < 1e-2, "all classes sum to zero"
    assert torch.allclose(found[0][:, :-1].flatten(0, 1), stack.weight @ x.T, atol=1e-3)
    error = (found[1] - found[0]).square().mean((0, 2)).sqrt()
    assert error[-1] < 2 * error[:-1].mean()


def test_a_rate_that_diverges_is_not_chosen(digits: Rows) -> None:
    fit = LinearHeads(lrs=[0.05, 1e30], epochs=60).fit(*digits, 10)
    assert fit.chosen["value"] == 0.05
    assert fit.chosen["val_accuracy"] > 0.9


@pytest.mark.parametrize("probe", [Logistic, Ridge, NearestNeighbours, LinearHeads])
def test_the_odd_cases_end_in_finite_logits(probe: type, digits: Rows) -> None:
    """Fewer rows than features, repeated rows, constant features, a class without rows, bfloat16."""
    x, y, val_x, val_y = digits
    kept = (y != 4).nonzero()[:40, 0].repeat(2)
    wide = torch.cat([widened(x), torch.full((600, 3), 5.0)], 1)[kept].bfloat16()
    val_wide = torch.cat([widened(val_x), torch.full((400, 3), 5.0)], 1).bfloat16()
    fit = probe().fit(wide, y[kept], val_wide, val_y, 10)
    logits = fit.head(val_wide.float())
    assert torch.isfinite(logits).all()
    assert (logits.argmax(1) == val_y).float().mean() > 0.6
    assert not (logits.argmax(1) == 4).any()


@pytest.mark.parametrize("probe", [Logistic, Ridge, NearestNeighbours, LinearHeads])
def test_validation_chooses_among_sets_of_features(probe: type, digits: Rows, tmp_path: Path) -> None:
    x, y, val_x, val_y = digits
    noise = torch.randn(1000, 40, generator=torch.Generator().manual_seed(0))
    both, val_both = torch.cat([noise[:600], x], 1), torch.cat([noise[600:], val_x], 1)
    parts = {"noise": slice(0, 40), "pixels": slice(40, 104)}
    fit = probe().fit(both, y, val_both, val_y, 10, parts=parts)
    assert fit.chosen["features"] == "pixels"
    alone = probe().fit(x, y, val_x, val_y, 10)
    assert torch.allclose(fit.head(val_both), alone.head(val_x), atol=1e-4)
    beside.save(fit.head, tmp_path / "probe.safetensors")
    assert torch.equal(beside.load(tmp_path / "probe.safetensors")(val_both), fit.head(val_both))


def test_a_refit_weighs_validation_rows_as_their_class(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    by_class = torch.linspace(0.5, 2, 10)
    fit = Ridge(grid=[10.0], refit=True).fit(x, y, val_x, val_y, 10, by_class[y])
    rows, labels = torch.cat([x, val_x]), torch.cat([y, val_y])
    whole = Ridge(grid=[10.0]).fit(rows, labels, x[:0], y[:0], 10, by_class[labels])
    assert torch.allclose(fit.head.weight, whole.head.weight, atol=1e-6)


def test_a_refit_counts_an_image_once_however_many_views_it_has(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    views, labels = x.repeat_interleave(8, 0), y.repeat_interleave(8)
    fit = Ridge(grid=[80.0], refit=True).fit(views, labels, val_x, val_y, 10, copies=8)
    once = Ridge(grid=[10.0]).fit(torch.cat([x, val_x]), torch.cat([y, val_y]), x[:0], y[:0], 10)
    assert torch.allclose(fit.head.weight, once.head.weight, atol=1e-6)


def test_what_a_probe_cannot_try_is_refused() -> None:
    for make in (
        lambda: NearestNeighbours(k=[0]),
        lambda: NearestNeighbours(metric="l1"),
        lambda: NearestNeighbours(temperature=0),
        lambda: LinearHeads(lrs=[]),
        lambda: LinearHeads(weight_decays=[-1.0]),
        lambda: LinearHeads(epochs=0),
        lambda: LinearHeads(epochs=1.5),
        lambda: LinearHeads(batch_size=1024.0),
        lambda: Logistic(max_iterations=0),
        lambda: Logistic(max_iterations=100.0),
        lambda: Logistic(tolerance=0),
        lambda: Logistic(scale=-0.5),
        lambda: LinearHeads(precision="16"),
        lambda: Ridge(layers=[]),
        lambda: Ridge(poolings=["sum"]),
    ):
        with pytest.raises(UserError, match=r"^probe"):
            make()
