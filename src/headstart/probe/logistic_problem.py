"""The objective of logistic regressions on the same rows: its value, residuals, curvature and Hessian products.

`headstart.probe.newton` minimises it, and has the notation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.probe.base import Targets
from headstart.probe.preconditioner import Curvature, Inverse, estimate_costs, invert_blocks, invert_pairs

PATIENCE = 5  # conjugate-gradient steps that are always accepted without a new preconditioner
SOLVES = 20  # Newton systems over which the cost of a preconditioner of pairs is spread
PIECE = 2**19  # numbers of the features that are read at once (2 MiB): they stay in the cache for the second product


@dataclass
class State:
    """Current weights of B values of C, with what is computed from them.

    Attributes:
        weight: [K, B, r].
        margins: z_ik - z_i[y_i], [K, B, n]; 0 at the true class.
        values: C, float64 [B].
        objective: F, float64 [B].
        residual: p_ik - [k = y_i], [K, B, n]. Smoothing is not in it: it enters the gradient as a constant.
    """

    weight: Tensor
    margins: Tensor
    values: Tensor
    objective: Tensor
    residual: Tensor

    def select(self, rows: Tensor) -> State:
        """The state of some of the values: `rows` is a mask or indices into B."""
        return State(
            self.weight[:, rows],
            self.margins[:, rows],
            self.values[rows],
            self.objective[rows],
            self.residual[:, rows],
        )


class Problem:
    """The training rows and their targets, with the products that the solver needs.

    Args:
        features: [n, r - 1]; a column of ones is appended for the bias.
        penalty: factor of each squared weight [r - 1].
    """

    def __init__(self, features: Tensor, targets: Targets, penalty: Tensor) -> None:
        self.features = torch.cat([features, features.new_ones(len(features), 1)], 1)
        self.penalty = torch.cat([penalty, penalty.new_zeros(1)])
        self.labels, self.classes, self.importance = targets.labels, targets.classes, targets.weights
        # sum_i w_i x_ij^2 [r], for the rough diagonal of the Hessian in `newton_step`
        squares = self.features.square()
        self.squares = (squares if self.importance is None else squares.mul_(self.importance[:, None])).sum(0)
        self.pull = self._smoothing_gradient(targets.smoothing)
        self.inverse: Inverse | None = None
        self.paired = False  # whether `inverse` was made by `invert_pairs`

    def _smoothing_gradient(self, smoothing: float) -> Tensor:
        """The gradient of the smoothing term [K, 1, r]: `s sum_i w_i ([k = y_i] - 1/K) x_i` for class k."""
        sums = self.features.new_zeros(self.classes, self.features.shape[1])
        if smoothing:
            # class by class: `index_add_` on a GPU adds in a different order each time, and results would differ
            for name, row in enumerate(sums):
                mine = self.labels == name
                part = self.features[mine]
                row[:] = part.sum(0) if self.importance is None else self.importance[mine] @ part
        # the sum over all rows is the sum of the classes' sums: subtracting the mean of these is the term with 1/K
        return smoothing * subtract_class_mean(sums)[:, None]

    def compute_margins(self, weight: Tensor) -> Tensor:
        """Margins z_ik - z_i[y_i] [K, B, n] of weights [K, B, r]; 2 n r K B operations."""
        logits = (weight.flatten(0, 1) @ self.features.T).view(*weight.shape[:2], -1)
        return logits.sub_(logits.gather(0, self.labels.expand(1, weight.shape[1], -1)))

    def multiply_hessian(self, probability: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """The margins [K, B, n] of directions V [K, B, r], and the Hessian of sum_i w_i loss_i times V [K, B, r].

        The Hessian of one row's loss is the Kronecker product of `diag(p) - p p'` and `x x'`. Its product with V is
        `p_k (u_k - sum_l p_l u_l) x` for class k, where u = V x. So two matrix products, with X and back with its
        transpose, do it in 4 n r K B operations, and the matrix is never made.
        """
        flat, reach = search.flatten(0, 1), torch.empty_like(probability)
        product = torch.zeros_like(flat)
        size = max(256, PIECE // self.features.shape[1])
        for start in range(0, len(self.labels), size):
            rows = slice(start, start + size)
            part, chance = self.features[rows], probability[..., rows]
            logits = (flat @ part.T).view(*chance.shape)
            # u minus its value at the true class: the product is the same, because (diag(p) - p p') maps a constant to
            # 0. But where p is near 1 at the true class, u_y - sum_l p_l u_l would cancel; now u_y is exactly 0.
            logits.sub_(logits.gather(0, self.labels[rows].expand(1, search.shape[1], -1)))
            reach[..., rows] = logits
            # p_k u_k, and then p_k (u_k - sum_l p_l u_l)
            inner = logits.mul_(chance)
            inner.sub_(chance * inner.sum(0))
            if self.importance is not None:
                inner.mul_(self.importance[rows])
            product.addmm_(inner.flatten(0, 1), part)
        return reach, product.view_as(search)

    def sum_rows(self, rows: Tensor) -> Tensor:
        """Sum over rows of a number per row times x_i: [K, B, n] -> [K, B, r], the transpose of X."""
        return (rows.flatten(0, 1) @ self.features).view(*rows.shape[:2], -1)

    def apply_importance(self, rows: Tensor) -> Tensor:
        """Numbers per row [..., n] times the importance of each row."""
        return rows if self.importance is None else rows * self.importance

    def evaluate(self, weight: Tensor, margins: Tensor, values: Tensor) -> State:
        """Objective and residuals at `weight`, whose `margins` are given: no product with the features is needed."""
        true = self.labels.expand(1, margins.shape[1], -1)
        # softmax with the largest margin taken out, so that exp cannot overflow
        top = margins.amax(0)
        odds = (margins - top).exp_()
        own = odds.gather(0, true)
        others = odds.scatter_(0, true, 0.0).sum(0)
        # loss = log sum_k exp(m_k) = top + log(own + others), where m is the margins. On a row that is classified
        # rightly top = 0 and own = 1, so the loss is log1p(others), accurate however small `others` is.
        loss = top + torch.log1p((own[0] - 1) + others)
        total = others + own[0]
        # p_k, and at the true class p_y - 1 = -others / total, with no difference of numbers near 1
        residual = odds.div_(total).scatter_(0, true, -(others / total)[None])
        # summed in double precision: the line search compares objectives that differ by about 1e-6 of their size
        norm = (weight.square() * self.penalty).sum((0, 2), dtype=torch.float64)
        pulled = (weight * self.pull).sum((0, 2), dtype=torch.float64)
        objective = values * (self.apply_importance(loss).sum(1, dtype=torch.float64) + pulled) + 0.5 * norm
        return State(weight, margins, values, objective, residual)

    def compute_curvature(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities p and p (1 - p), both [K, B, n], from residuals.

        1 - p at the true class is minus its residual: where p is near 1 there, its digits are kept.
        """
        true = self.labels.expand(1, residual.shape[1], -1)
        miss = -residual.gather(0, true)
        probability = residual.scatter(0, true, 1 - miss)
        rest = (1 - residual).scatter_(0, true, miss)
        return probability, rest.mul_(probability)

    def precondition(self, rows: Tensor, diagonal: Tensor) -> Tensor:
        """z = M^-1 r of residuals r [K, B, r], with zero sum over the classes.

        Until there is a better M, it is the rough diagonal of the Hessian [B, r] that is given.
        """
        return subtract_class_mean(rows / diagonal if self.inverse is None else self.inverse(rows))

    def renew(self, steps: int, at: Curvature) -> None:
        """Rebuild the preconditioner if a solve took more conjugate-gradient steps than a new one costs.

        Args:
            steps: of the solve.
            at: the curvature at the point where the solve began.
        """
        rows, width = self.features.shape
        cheap, dear = estimate_costs(rows, width, self.classes)
        # Pairs cost much and stay good for longer, so their cost is spread over SOLVES systems. Blocks replace pairs
        # only when these should be rebuilt and cannot be.
        made = invert_pairs(at) if steps > PATIENCE + dear / SOLVES else None
        if made is not None:
            self.inverse, self.paired = made, True
        elif steps > PATIENCE + (dear / SOLVES if self.paired else cheap):
            self.inverse, self.paired = invert_blocks(at) or self.inverse, False


def subtract_class_mean(rows: Tensor) -> Tensor:
    """Subtract, in place, the mean over the classes (dimension 0).

    An equal shift of all classes changes no probability. In that direction the Hessian is only the penalty, too small
    for conjugate gradients to correct: rounding errors would add up to a shift that no step removes.
    """
    return rows.sub_(rows.mean(0))


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [B] of two arrays [K, B, r], one for each value of C."""
    return (left * right).sum((0, 2))
