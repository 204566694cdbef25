"""The two preconditioners: exact where they have to be, and left alone where they would not pay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headstart.probe import GRID, Targets, preconditioner
from headstart.probe.linear import whiten
from headstart.probe.logistic_problem import Problem, subtract_class_mean
from headstart.probe.newton import solve_path
from probe.problems import Rows


def test_all_classes_may_share_one_preconditioner(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    at, _ = curvature(digits, 0.1)
    alike = torch.ones(10, 1, at.features.shape[1])
    own = preconditioner.invert_blocks(at)
    assert own is not None
    assert not torch.allclose(own(alike)[0], own(alike)[1], rtol=0.01)
    monkeypatch.setattr(preconditioner, "BYTES", 0)
    shared = preconditioner.invert_blocks(at)
    assert shared is not None
    assert torch.allclose(shared(alike)[0], shared(alike)[1])
    x, y = digits[0], digits[1]
    z, _, penalty = whiten(x - x.mean(0))
    problem = Problem(z, Targets(y, 10), penalty)
    _, _, converged = solve_path(problem, list(GRID), 1e-5, 100)
    assert all(converged)
    assert problem.inverse is not None
    assert not problem.paired


def curvature(digits: Rows, c: float) -> tuple[preconditioner.Curvature, Tensor]:
    """What preconditioners are made of, for two values of C and weighted rows, and the mean Hessian there."""
    x, y = digits[0], digits[1]
    z, _, penalty = whiten(x - x.mean(0))
    problem = Problem(z, Targets(y, 10), penalty)
    weight = solve_path(problem, [c], 1e-5, 100)[0][0][:, None]
    state = problem.evaluate(weight, problem.compute_margins(weight), torch.tensor([c], dtype=torch.float64))
    probability, spread = problem.compute_curvature(state.residual)
    penalty = problem.penalty + 1e-6
    importance = torch.arange(len(x)).remainder(3).float() + 1
    p, rows = probability[:, 0].double(), problem.features.double()
    covariance = torch.diag_embed(p.T) - p.T[:, :, None] * p.T[:, None]
    size = len(p) * rows.shape[1]
    hessian = torch.einsum("n,nkl,na,nb->kalb", importance.double(), covariance, rows, rows).reshape(size, size)
    hessian = 2 * c * hessian + torch.diag(penalty.double().repeat(10))
    twice = probability.repeat(1, 2, 1), spread.repeat(1, 2, 1)
    scale = torch.stack([c * importance, 3 * c * importance])
    return preconditioner.Curvature(problem.features, *twice, scale, penalty), hessian


def test_pairs_of_classes_are_the_whole_hessian(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditioner, "PAIRED", 45)  # all of them
    at, hessian = curvature(digits, 0.1)
    inverse = preconditioner.invert_pairs(at)
    assert inverse is not None
    aim = subtract_class_mean(torch.randn(10, 3, at.features.shape[1], generator=torch.Generator().manual_seed(0)))
    found = subtract_class_mean(inverse(aim)).transpose(1, 2).flatten(0, 1).double()
    assert torch.allclose(hessian @ found, aim.transpose(1, 2).flatten(0, 1).double(), atol=0.02)


def test_pairs_are_left_alone_where_all_rows_weigh_alike_or_room_is_short(
    digits: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, _ = curvature(digits, 1e-6)
    assert preconditioner.invert_pairs(at) is None
    at, _ = curvature(digits, 10.0)
    assert preconditioner.invert_pairs(at) is not None
    monkeypatch.setattr(preconditioner, "BYTES", 2**20)
    assert preconditioner.invert_pairs(at) is None
    assert preconditioner.invert_blocks(at) is not None
