"""Logistic regression with an L2 penalty as a head, for a whole grid of penalties.

Here features are centred and whitened, and the heads are converted back for the features as they were given. The solver
is in `headstart.probe.newton`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UserError
from headstart.probe.base import Probe, Targets, sort_values
from headstart.probe.logistic_problem import Problem
from headstart.probe.newton import solve_path

log = logging.getLogger(__name__)

GRID = tuple(10.0 ** (-6 + 0.25 * step) for step in range(45))  # 1e-6 ... 1e5
ROWS = 8192  # rows (or columns) converted to double precision at once, so that the features are not doubled in memory


@dataclass(frozen=True)
class Heads:
    """One linear head per value of the grid: logits are `x @ weight.T + bias`.

    Attributes:
        weight: [values, classes, d].
        bias: [values, classes].
        facts: of each value: the value, and what the solver reports of it.
    """

    weight: Tensor
    bias: Tensor
    facts: Sequence[dict[str, Any]]

    def logits(self, x: Tensor) -> Tensor:
        """Logits [values, n, classes] of features [n, d]."""
        # one product [n, d] x [d, values * classes] for all values
        flat = torch.addmm(self.bias.flatten(), x, self.weight.flatten(0, 1).T)
        return flat.view(len(x), *self.bias.shape).transpose(0, 1)

    def head(self, index: int) -> nn.Linear:
        """The head of one value, as a module of its own."""
        classes, width = self.weight.shape[1:]
        linear = nn.Linear(width, classes, device=self.weight.device)
        with torch.no_grad():
            linear.weight.copy_(self.weight[index])
            linear.bias.copy_(self.bias[index])
        return linear

    def undo_centring(self, mean: Tensor) -> Heads:
        """Turn heads on centred features into heads on the features as given; `mean` [d] is what was subtracted."""
        # (x - mean) w + b = x w + (b - mean w)
        return Heads(self.weight, self.bias - self.weight @ mean, self.facts)


class Logistic(Probe):
    """Multinomial logistic regression for a grid of C, all values in one solve (`headstart.probe.newton`).

    Args:
        grid: values of C in scikit-learn's objective `C * sum_i weight_i loss_i + ||head||^2 / 2`. The bias is not
            penalised. A small C is strong regularisation. For two classes scikit-learn's head is one vector, and so
            is this penalty: that of the difference of the two classes' weights.
        tolerance: a value is solved when a Newton step promises to lower its objective by less than this share.
        max_iterations: the most Newton steps per value.
        scale: features are divided by their standard deviation to this power before the penalty is applied, and the
            head is scaled back. 0 leaves features as they are, 1 standardises them. On 12 random splits of
            Fashion-MNIST's training images (1,000 to fit, 4,000 to score) 0, 0.5 and 1 gave 82.67, 82.74 and 82.45 %
            (`benchmarks/choices.py`).
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    noun = "value of C"  # what is tried: `headstart.training.head`
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
        """Fit a head for each value of C on each set of features."""
        return [self._solve_centred(part, targets, list(values)) for part in parts]

    def _solve_centred(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        """Fit on centred features; the bias has no penalty, so the logits of the optimum are the same as without.

        Centred features and the column of ones are orthogonal, which makes the Hessian better conditioned.
        """
        # rows of weight 0 add nothing to the objective, only cost
        if targets.weights is not None:
            kept = targets.weights > 0
            x = x[kept]
            targets = replace(targets, labels=targets.labels[kept], weights=targets.weights[kept].float())
        x = x.float()
        mean = x.mean(0)
        return self._solve(x - mean, targets, values).undo_centring(mean)

    def _solve(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        """Heads on centred features x [n, d]."""
        present = targets.labels.unique()
        if len(present) < 2:
            raise UserError("probe: the training images show fewer than two classes; raise data.train_per_class")
        if len(present) < targets.classes and not targets.smoothing:
            return self._solve_present(x, targets, values, present)
        # factor_j = std_j ^ -scale [d]. The small share of the mean prevents a huge factor for a feature that hardly
        # varies.
        spread = x.square().mean(0).sqrt()
        factor = (spread + 1e-3 * spread.mean()).clamp_min(1e-12) ** -self.scale
        x, basis, penalty = whiten(x * factor)
        if targets.classes == 2:
            # scikit-learn has one head v for two classes, the difference of ours. By symmetry ours are v / 2 and
            # -v / 2, so that ||W||^2 = ||v||^2 / 2: twice the penalty gives scikit-learn's objective.
            penalty = 2 * penalty
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
        # back from whitened features to scaled ones (v = basis w), and from those to x: (x * factor) v = x (factor * v)
        weight = torch.stack([(head.double() @ basis.T).float() for head in heads])
        return Heads(weight * factor, bias, facts)

    def _solve_present(self, x: Tensor, targets: Targets, values: list[float], present: Tensor) -> Heads:
        """Fit the classes that have training rows; give each other class the weight 0 and the bias -10.

        A class without rows has no optimum: the loss falls without end as its bias goes to minus infinity. The logits
        of the present classes are made to sum to zero. Then the largest is never below 0, and a class at -10 is never
        predicted. (With smoothed labels every class has a share in every row, and so has an optimum.)
        """
        labels = torch.searchsorted(present, targets.labels)
        heads = self._solve(x, replace(targets, labels=labels, classes=len(present)), values)
        weight = x.new_zeros(len(values), targets.classes, x.shape[1])
        bias = x.new_full((len(values), targets.classes), -10.0)
        weight[:, present] = heads.weight - heads.weight.mean(1, keepdim=True)
        bias[:, present] = heads.bias - heads.bias.mean(1, keepdim=True)
        return Heads(weight, bias, heads.facts)


def whiten(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn centred features x [n, d] into their principal components z [n, k], each of variance 1.

    With the singular value decomposition x = U S V', where U [n, k], V [d, k]:

        basis = sqrt(n) V S^-1,    z = x basis = sqrt(n) U,    so  z'z / n = I

    A head w on z and the head v = basis w on x have the same logits: z w = x basis w = x v. V has orthonormal columns,
    so `||v||^2 = n w' S^-2 w = sum_j penalty_j w_j^2` with `penalty = n / S^2`: that is how an L2 penalty on v is
    written for w. Nothing is lost: an optimal v is a combination of the rows of x, and so a combination of V's columns.

    Why: at W = 0 all rows have the same p. If they also count the same, the Hessian of the losses is the Kronecker
    product of `diag(p) - p p'` and `z'z = n I`: the condition number of the features' covariance, which decides how
    many steps conjugate gradients need, is gone.

    Components with less than 1e-13 of the largest variance are left out: they are rounding of single precision.

    Returns:
        z [n, k]; basis (float64 [d, k]); penalty [k].
    """
    rows, width = x.shape
    # Only the smaller of x'x [d, d] and x x' [n, n] is made. Its eigenvalues are S^2 in ascending order (both have the
    # same ones), its eigenvectors V or U. Double precision, because forming it squares the condition number.
    wide = rows < width
    products = torch.zeros(min(rows, width), min(rows, width), dtype=torch.float64, device=x.device)
    for part in x.T.split(ROWS) if wide else x.split(ROWS):
        held = part.double()
        products.addmm_(held.T, held)
    squares, axes = torch.linalg.eigh(products)
    kept = squares > 1e-13 * squares[-1]
    squares, axes = squares[kept], axes[:, kept]
    if wide:  # V = x' U S^-1
        axes = torch.cat([part.double() @ axes for part in x.T.split(ROWS)]) / squares.sqrt()
    penalty = rows / squares
    basis = axes * penalty.sqrt()
    z = torch.cat([(part.double() @ basis).to(x.dtype) for part in x.split(ROWS)])
    return z, basis, penalty.to(x.dtype)
