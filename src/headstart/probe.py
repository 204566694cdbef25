"""Probes: a head fitted on features in one solve, its regularisation chosen on validation data.

A probe is anything with ``fit(train_x, train_y, val_x, val_y, classes) -> ProbeFit``; a strategy file names it by
``_target_``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headstart.errors import UserError
from headstart.newton import Problem, path

log = logging.getLogger(__name__)

GRID = tuple(10.0 ** (-6 + 0.25 * step) for step in range(45))  # 1e-6 ... 1e5


@dataclass(frozen=True)
class ProbeFit:
    """A fitted head: logits are ``x @ weight.T + bias`` on the features as given."""

    weight: Tensor  # [classes, d]
    bias: Tensor  # [classes]
    chosen: float
    table: list[dict[str, Any]]  # per value: value, val_accuracy, val_nll, train_accuracy, iterations, converged
    seconds: float
    probabilities: bool  # whether softmax of the logits means something


@dataclass(frozen=True)
class Heads:
    """One head per value of the grid, on centred features."""

    weight: Tensor  # [values, classes, d]
    bias: Tensor  # [values, classes]
    iterations: list[int]
    converged: list[bool]


class Logistic:
    """Multinomial logistic regression over a grid of C, all values solved together (`headstart.newton`).

    Args:
        grid: values of C in scikit-learn's objective ``C * sum_i loss_i + ||weight||^2 / 2``, the bias not penalised:
            small is strong regularisation.
        tolerance: a value is solved when a Newton step promises less than this share of its objective.
        max_iterations: Newton steps per value at most.
        scale: features are divided by their standard deviation to this power before the penalty is applied, and the
            head is scaled back: 0 leaves them alone, 1 standardises. Over 12 cuts of Fashion-MNIST's training images
            (1,000 labelled, 4,000 scored) 0, 0.5 and 1 gave 82.67, 82.74 and 82.45 % (``benchmarks/choices.py``).
        refit: fit once more on training and validation rows with the chosen value.
    """

    def __init__(
        self,
        grid: Sequence[float] = GRID,
        tolerance: float = 1e-5,
        max_iterations: int = 100,
        scale: float = 0.5,
        refit: bool = False,
    ) -> None:
        self.grid, self.scale = _checked(grid, "grid"), scale
        self.tolerance, self.max_iterations, self.refit = tolerance, max_iterations, refit

    def fit(self, train_x: Tensor, train_y: Tensor, val_x: Tensor, val_y: Tensor, classes: int) -> ProbeFit:
        """Fit every value on the training rows [n, d] and keep the one that is best on the validation rows [m, d]."""
        return _select(self._solve, self.grid, True, self.refit, train_x, train_y, val_x, val_y, classes)

    def _solve(self, x: Tensor, labels: Tensor, classes: int, values: list[float]) -> Heads:
        present = labels.unique()
        if len(present) < classes:
            return self._without_absent(x, labels, classes, values, present)
        spread = x.square().mean(0).sqrt()  # of centred features
        factor = (spread + 1e-3 * spread.mean()).clamp_min(1e-12) ** -self.scale
        x, basis = x * factor, None
        if len(x) < x.shape[1]:  # the optimum lies in the row space: rotating onto it loses nothing
            basis, small = torch.linalg.qr(x.T)
            x = small.T.contiguous()
        weight, steps, converged = path(Problem(x, labels, classes), values, self.tolerance, self.max_iterations)
        heads, bias = weight[..., :-1], weight[..., -1]
        if not all(converged):
            missed = ", ".join(f"{value:g}" for value, good in zip(values, converged, strict=True) if not good)
            log.warning("logistic probe: not solved to the tolerance at C = %s", missed)
        return Heads((heads if basis is None else heads @ basis.T) * factor, bias, steps, converged)

    def _without_absent(self, x: Tensor, labels: Tensor, classes: int, values: list[float], present: Tensor) -> Heads:
        """Classes without training rows have no optimum (bias -> -inf): they get weight 0 and a bias of -10.

        The present classes' logits sum to zero, so their largest is never below 0: an absent class is never predicted.
        """
        if len(present) < 2:
            raise UserError("probe: the training images show fewer than two classes; raise data.train_per_class")
        heads = self._solve(x, torch.searchsorted(present, labels), len(present), values)
        weight = x.new_zeros(len(values), classes, x.shape[1])
        bias = x.new_full((len(values), classes), -10.0)
        weight[:, present] = heads.weight - heads.weight.mean(1, keepdim=True)
        bias[:, present] = heads.bias - heads.bias.mean(1, keepdim=True)
        return Heads(weight, bias, heads.iterations, heads.converged)


class Ridge:
    """Least squares on one-hot targets with an L2 penalty; one eigendecomposition serves the whole grid.

    Args:
        grid: penalties alpha in ``||x w - y||^2 + alpha ||w||^2`` on centred features: large is strong regularisation.
        refit: fit once more on training and validation rows with the chosen value.
    """

    def __init__(self, grid: Sequence[float] = GRID, refit: bool = False) -> None:
        self.grid, self.refit = _checked(grid, "grid"), refit

    def fit(self, train_x: Tensor, train_y: Tensor, val_x: Tensor, val_y: Tensor, classes: int) -> ProbeFit:
        """Fit every penalty on the training rows [n, d] and keep the one that is best on the validation rows [m, d]."""
        grid = self.grid[::-1]  # from strong to weak, as everywhere
        return _select(self._solve, grid, False, self.refit, train_x, train_y, val_x, val_y, classes)

    def _solve(self, x: Tensor, labels: Tensor, classes: int, values: list[float]) -> Heads:
        targets = functional.one_hot(labels, classes).double()
        mean = targets.mean(0)
        x = x.double()
        wide = len(x) < x.shape[1]
        spectrum, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
        centred = targets - mean
        inside = vectors.T @ (centred if wide else x.T @ centred)
        scales = torch.tensor(values, dtype=x.dtype, device=x.device)[:, None] + spectrum.clamp_min(0)
        heads = vectors @ (inside / scales[..., None])
        weight = (x.T @ heads if wide else heads).transpose(1, 2)
        return Heads(weight.float(), mean.float().expand(len(values), -1), [1] * len(values), [True] * len(values))


def _checked(grid: Sequence[float], key: str) -> list[float]:
    values = sorted({float(value) for value in grid})
    if not values or not all(0 < value < float("inf") for value in values):
        raise UserError(f"probe.{key}: needs one or more numbers above 0, got {list(grid)}")
    return values


def _select(
    solve: Callable[[Tensor, Tensor, int, list[float]], Heads],
    grid: list[float],
    probabilities: bool,
    refit: bool,
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    classes: int,
) -> ProbeFit:
    """Solve for every value and choose on validation: lowest nll, then accuracy, then stronger regularisation (first).

    The nll of few images says more than their accuracy: chosen by it, the values of ``benchmarks/choices.py`` are 0.2
    points better on other images. Without probabilities accuracy alone decides.
    """
    began = time.perf_counter()
    train_x, val_x = train_x.float(), val_x.float()
    if not len(val_y) and len(grid) > 1:
        raise UserError("probe.grid: choosing among several values needs validation images; raise data.val_fraction")
    mean = train_x.mean(0)
    heads = solve(train_x - mean, train_y, classes, grid)
    table, ranks = [], []
    for index, value in enumerate(grid):
        weight, bias = heads.weight[index], heads.bias[index]
        train_accuracy, _ = _score((train_x - mean) @ weight.T + bias, train_y)
        val_accuracy, nll = _score((val_x - mean) @ weight.T + bias, val_y)
        ranks.append((nll if probabilities else 0.0, -val_accuracy))
        table.append(
            {
                "value": value,
                "val_accuracy": val_accuracy,
                "val_nll": nll if probabilities else None,
                "train_accuracy": train_accuracy,
                "iterations": heads.iterations[index],
                "converged": heads.converged[index],
            }
        )
    best = min(range(len(grid)), key=lambda at: (*ranks[at], at)) if len(val_y) else 0
    if refit:
        train_x, train_y = torch.cat([train_x, val_x]), torch.cat([train_y, val_y])
        mean = train_x.mean(0)
        heads, best_head = solve(train_x - mean, train_y, classes, [grid[best]]), 0
    else:
        best_head = best
    weight = heads.weight[best_head]
    bias = heads.bias[best_head] - weight @ mean
    return ProbeFit(weight, bias, grid[best], table, time.perf_counter() - began, probabilities)


def _score(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood of logits [n, classes]; (0, 0) without rows."""
    if not len(labels):
        return 0.0, 0.0
    accuracy = float((logits.argmax(1) == labels).float().mean())
    return accuracy, float(functional.cross_entropy(logits, labels))
