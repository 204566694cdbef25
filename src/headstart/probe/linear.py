"""Linear heads with an L2 penalty: logistic regression and least squares, a whole grid of penalties in one solve."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe.base import Probe, Targets, sort_values
from headstart.probe.newton import Problem, solve_path

log = logging.getLogger(__name__)

GRID = tuple(10.0 ** (-6 + 0.25 * step) for step in range(45))  # 1e-6 ... 1e5
ROWS = 8192  # that are held in double precision at once


@dataclass(frozen=True)
class Heads:
    """One linear head per value: logits are ``x @ weight.T + bias``."""

    weight: Tensor  # [values, classes, d]
    bias: Tensor  # [values, classes]
    facts: Sequence[dict[str, Any]]

    def logits(self, x: Tensor) -> Tensor:
        """Logits [values, n, classes] of features [n, d]."""
        flat = torch.addmm(self.bias.flatten(), x, self.weight.flatten(0, 1).T)
        return flat.view(len(x), *self.bias.shape).transpose(0, 1)

    def head(self, index: int) -> nn.Linear:
        """One of the heads, as a module of its own."""
        classes, width = self.weight.shape[1:]
        linear = nn.Linear(width, classes, device=self.weight.device)
        with torch.no_grad():
            linear.weight.copy_(self.weight[index])
            linear.bias.copy_(self.bias[index])
        return linear

    def moved(self, mean: Tensor) -> Heads:
        """The same heads on features that ``mean`` [d] has not been taken from."""
        return Heads(self.weight, self.bias - self.weight @ mean, self.facts)


class Logistic(Probe):
    """Multinomial logistic regression over a grid of C, all values solved together (`headstart.probe.newton`).

    Args:
        grid: values of C in scikit-learn's objective ``C * sum_i weight_i loss_i + ||head||^2 / 2``, the bias not
            penalised: small is strong regularisation.
        tolerance: a value is solved when a Newton step promises less than this share of its objective.
        max_iterations: Newton steps per value at most.
        scale: features are divided by their standard deviation to this power before the penalty is applied, and the
            head is scaled back: 0 leaves them alone, 1 standardises. Over 12 cuts of Fashion-MNIST's training images
            (1,000 labelled, 4,000 scored) 0, 0.5 and 1 gave 82.67, 82.74 and 82.45 % (``benchmarks/choices.py``).
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    smooths = True

    def __init__(
        self,
        grid: Sequence[float] = GRID,
        tolerance: float = 1e-6,
        max_iterations: int = 100,
        scale: float = 0.5,
        refit: bool = False,
        layers: Sequence[int] = (-1,),
        poolings: Sequence[str] = ("avg",),
    ) -> None:
        super().__init__(sort_values(grid, "grid"), refit, layers, poolings)
        if not 0 < tolerance < 1:
            raise UserError(f"probe.tolerance={tolerance}: must be above 0 and below 1")
        if not isinstance(max_iterations, int) or max_iterations < 1:
            raise UserError(f"probe.max_iterations={max_iterations}: must be a whole number of at least 1")
        if not 0 <= scale <= 1:
            raise UserError(f"probe.scale={scale}: must be from 0 to 1")
        self.tolerance, self.max_iterations, self.scale = tolerance, max_iterations, scale

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[Heads]:
        """A head per value of C on each set of features."""
        return [self._centred(part, targets, list(values)) for part in parts]

    def _centred(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        if targets.weights is not None:
            kept = targets.weights > 0
            x = x[kept]
            targets = replace(targets, labels=targets.labels[kept], weights=targets.weights[kept].float())
        x = x.float()
        mean = x.mean(0)
        return self._solve(x - mean, targets, values).moved(mean)

    def _solve(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        present = targets.labels.unique()
        if len(present) < 2:
            raise UserError("probe: the training images show fewer than two classes; raise data.train_per_class")
        if len(present) < targets.classes and not targets.smoothing:
            return self._without_absent(x, targets, values, present)
        spread = x.square().mean(0).sqrt()  # of centred features
        factor = (spread + 1e-3 * spread.mean()).clamp_min(1e-12) ** -self.scale
        x, basis, penalty = whiten(x * factor)
        problem = Problem(x, targets, penalty)
        found, steps, converged = solve_path(problem, values, self.tolerance, self.max_iterations)
        heads, bias = found[..., :-1], found[..., -1]
        if not all(converged):
            missed = ", ".join(f"{value:g}" for value, good in zip(values, converged, strict=True) if not good)
            log.warning("logistic probe: not solved to the tolerance at C = %s", missed)
        facts = [
            {"value": value, "iterations": taken, "converged": good}
            for value, taken, good in zip(values, steps, converged, strict=True)
        ]
        weight = torch.stack([(head.double() @ basis.T).float() for head in heads])
        return Heads(weight * factor, bias, facts)

    def _without_absent(self, x: Tensor, targets: Targets, values: list[float], present: Tensor) -> Heads:
        """Classes without training rows have no optimum (bias -> -inf): they get weight 0 and a bias of -10.

        The present classes' logits sum to zero, so their largest is never below 0: an absent class is never predicted.
        (Smoothed labels give each class a share of every row, and so an optimum.)
        """
        labels = torch.searchsorted(present, targets.labels)
        heads = self._solve(x, replace(targets, labels=labels, classes=len(present)), values)
        weight = x.new_zeros(len(values), targets.classes, x.shape[1])
        bias = x.new_full((len(values), targets.classes), -10.0)
        weight[:, present] = heads.weight - heads.weight.mean(1, keepdim=True)
        bias[:, present] = heads.bias - heads.bias.mean(1, keepdim=True)
        return Heads(weight, bias, heads.facts)


class Ridge(Probe):
    """Least squares on one-hot targets with an L2 penalty; one eigendecomposition serves the whole grid.

    Args:
        grid: penalties alpha in ``sum_i weight_i ||x_i w - y_i||^2 + alpha ||w||^2`` on centred features: large is
            strong regularisation. Smoothed labels are left out: they scale and shift all scores alike.
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    probabilities = False

    def __init__(
        self,
        grid: Sequence[float] = GRID,
        refit: bool = False,
        layers: Sequence[int] = (-1,),
        poolings: Sequence[str] = ("avg",),
    ) -> None:
        super().__init__(sort_values(grid, "grid")[::-1], refit, layers, poolings)  # from strong to weak, as everywhere

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[Heads]:
        """A head per penalty on each set of features."""
        return [self._solve(part, targets, list(values)) for part in parts]

    def _solve(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        classes = targets.classes
        rows = torch.ones(len(x), device=x.device) if targets.weights is None else targets.weights
        rows = rows.double()[:, None]
        total = rows.sum()
        mean = sum((part.double() * w).sum(0) for part, w in _blocks(x, rows)) / total
        wanted = functional.one_hot(targets.labels, classes).double()
        centre = (wanted * rows).sum(0) / total
        wanted = (wanted - centre) * rows.sqrt()
        wide = len(x) < x.shape[1]
        if wide:  # the kernel form: its matrix is the smaller
            held = (x.double() - mean) * rows.sqrt()
            spectrum, vectors = torch.linalg.eigh(held @ held.T)
            inside = vectors.T @ wanted
        else:
            gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
            cross = torch.zeros(x.shape[1], classes, dtype=torch.float64, device=x.device)
            for part, w, aim in _blocks(x, rows, wanted):
                held = (part.double() - mean) * w.sqrt()
                gram.addmm_(held.T, held)
                cross.addmm_(held.T, aim)
            spectrum, vectors = torch.linalg.eigh(gram)
            inside = vectors.T @ cross
        scales = torch.tensor(values, dtype=torch.float64, device=x.device)[:, None] + spectrum.clamp_min(0)
        found = (inside / scales[..., None]).transpose(0, 1).flatten(1)  # [directions, values x classes]
        found = vectors @ found
        found = held.T @ found if wide else found
        weight = found.view(-1, len(values), classes).permute(1, 2, 0).contiguous()
        facts = [{"value": value, "iterations": 1, "converged": True} for value in values]
        bias = centre - weight @ mean
        return Heads(weight.float(), bias.float(), facts)


def whiten(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centred features [n, d] along their principal axes, each axis of variance 1.

    Axes of less than 1e-13 of the largest variance are left out: they are single precision's rounding.

    Returns:
        The features z [n, k]; the basis (float64 [d, k]) that takes a head on z to the head on x of the same logits;
        and how much each squared weight on z adds to that head's squared norm [k].
    """
    rows, width = x.shape
    wide = rows < width  # the rows' products are the smaller matrix
    products = torch.zeros(min(rows, width), min(rows, width), dtype=torch.float64, device=x.device)
    for part in x.T.split(ROWS) if wide else x.split(ROWS):
        held = part.double()
        products.addmm_(held.T, held)
    squares, axes = torch.linalg.eigh(products)
    kept = squares > 1e-13 * squares[-1]
    squares, axes = squares[kept], axes[:, kept]
    if wide:
        axes = torch.cat([part.double() @ axes for part in x.T.split(ROWS)]) / squares.sqrt()
    penalty = rows / squares
    basis = axes * penalty.sqrt()
    z = torch.cat([(part.double() @ basis).to(x.dtype) for part in x.split(ROWS)])
    return z, basis, penalty.to(x.dtype)


def _blocks(*tensors: Tensor) -> zip[tuple[Tensor, ...]]:
    return zip(*(tensor.split(ROWS) for tensor in tensors), strict=True)
