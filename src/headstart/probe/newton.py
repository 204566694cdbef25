"""Many L2-penalised multinomial logistic regressions on the same features, by truncated Newton along the path of C.

For each value C the objective is scikit-learn's, ``C * sum_i loss_i + 0.5 * ||weight||^2`` with a free bias; rows may
count unequally.

- Every STRIDE-th value is solved in turn, from strong to weak regularisation, each from the two before it. The values
  between start from a cubic in log C through those, mostly within a step or two of their solution, and are solved
  in blocks: one matrix product with the features serves all values and classes of a block.
- Newton steps come by conjugate gradients on Hessian products (Lin, Weng & Keerthi 2008, "Trust region Newton method
  for large-scale logistic regression", with a line search in place of the region).
- The preconditioner is the Hessian's diagonal block of each class, ``C X' diag(p_k (1 - p_k)) X + I``, summed only
  over the rows that weigh most and rescaled to the whole weight (a sub-sampled Hessian: Erdogdu & Montanari 2015). It
  is made anew only when a solve took more steps than that costs: as C grows, p (1 - p) shrinks about as fast.
- Losses, residuals and Hessian products are formed from differences to the true class's logit (margins): so float32
  keeps their relative precision where separable data and weak regularisation drive them towards zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 9  # values between the path's that are solved together: they share a preconditioner, so not too many
ELEMENTS = 2**25  # of one logits array; half a dozen live at once
BLOCK_BYTES = 2**30  # of the preconditioner; above it all classes share one block
STRIDE = 4  # of the values that are solved along the path
FORCING = 0.1  # a Newton system is solved to this share of its starting error
PATIENCE = 5  # conjugate-gradient steps before a new preconditioner is thought of
ROWS = 2, 100  # that the preconditioner sums over: per feature, or of all rows per feature, whichever is more
PIECE = 2**19  # features that both halves of a Hessian product read together


@dataclass
class State:
    """Solutions under way: weights [K, B, r], margins and residuals p - y [K, B, n], values, objectives [B]."""

    weight: Tensor
    margins: Tensor
    values: Tensor
    objective: Tensor
    residual: Tensor

    def keep(self, rows: Tensor) -> State:
        """The same for some of the values only."""
        return State(
            self.weight[:, rows],
            self.margins[:, rows],
            self.values[rows],
            self.objective[rows],
            self.residual[:, rows],
        )


class Problem:
    """The training rows: features [n, r] whose last column is the bias's ones, labels [n] in 0..classes-1.

    Args:
        importance: how much each row counts [n], above 0; None: 1.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int, importance: Tensor | None = None) -> None:
        ones = features.new_ones(len(features), 1)
        self.features = torch.cat([features, ones], 1)
        self.labels, self.classes, self.importance = labels, classes, importance
        self.penalty = torch.ones_like(self.features[0])
        self.penalty[-1] = 0
        squares = self.features.square()
        self.squares = (squares if importance is None else squares.mul_(importance[:, None])).sum(0)
        self.inverse: Tensor | None = None

    @property
    def sampled(self) -> int:
        """How many rows the preconditioner sums over."""
        rows, width = self.features.shape
        return min(rows, max(ROWS[0] * width, ROWS[1] * rows // width))

    def margins(self, weight: Tensor) -> Tensor:
        """Logits less the true class's logit [K, B, n], of weights [K, B, r]."""
        logits = (weight.flatten(0, 1) @ self.features.T).view(*weight.shape[:2], -1)
        return logits.sub_(logits.gather(0, self.labels.expand(1, weight.shape[1], -1)))

    def curved(self, probability: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """Margins [K, B, n] of directions [K, B, r], and the loss's Hessian times these directions.

        Rows are taken a piece at a time, which both products find in the processor's cache.
        """
        flat, reach = search.flatten(0, 1), torch.empty_like(probability)
        product = torch.zeros_like(flat)
        size = max(256, PIECE // self.features.shape[1])
        for start in range(0, len(self.labels), size):
            rows = slice(start, start + size)
            part, chance = self.features[rows], probability[..., rows]
            logits = (flat @ part.T).view(*chance.shape)
            logits.sub_(logits.gather(0, self.labels[rows].expand(1, search.shape[1], -1)))
            reach[..., rows] = logits
            inner = logits.mul_(chance)
            inner.sub_(chance * inner.sum(0))
            if self.importance is not None:
                inner.mul_(self.importance[rows])
            product.addmm_(inner.flatten(0, 1), part)
        return reach, product.view_as(search)

    def back(self, rows: Tensor) -> Tensor:
        """The transpose: [K, B, n] -> [K, B, r]."""
        return (rows.flatten(0, 1) @ self.features).view(*rows.shape[:2], -1)

    def weighed(self, rows: Tensor) -> Tensor:
        """[..., n] times the rows' importance."""
        return rows if self.importance is None else rows * self.importance

    def state(self, weight: Tensor, margins: Tensor, values: Tensor) -> State:
        """Objective and residuals at `weight`, whose `margins` are given."""
        true = self.labels.expand(1, margins.shape[1], -1)
        top = margins.amax(0)
        odds = (margins - top).exp_()
        own = odds.gather(0, true)
        others = odds.scatter_(0, true, 0.0).sum(0)
        loss = top + torch.log1p((own[0] - 1) + others)
        total = others + own[0]
        residual = odds.div_(total).scatter_(0, true, -(others / total)[None])
        norm = (weight.square() * self.penalty).sum((0, 2), dtype=torch.float64)
        objective = values * self.weighed(loss).sum(1, dtype=torch.float64) + 0.5 * norm
        return State(weight, margins, values, objective, residual)

    def curvature(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities p and p (1 - p), both [K, B, n], the second without cancellation."""
        true = self.labels.expand(1, residual.shape[1], -1)
        miss = -residual.gather(0, true)
        probability = residual.scatter(0, true, 1 - miss)
        rest = (1 - residual).scatter_(0, true, miss)
        return probability, rest.mul_(probability)

    def factorise(self, weights: Tensor, damping: float) -> None:
        """The preconditioner: inverses [K or 1, r, r] of class blocks; weights [K, n] are mean C p (1 - p)."""
        size = self.features.shape[1]
        if 4 * self.classes * size * size > BLOCK_BYTES:
            weights = weights.mean(0, keepdim=True)
        top, rows = weights.topk(self.sampled, dim=1)
        top = top * (weights.sum(1, keepdim=True) / top.sum(1, keepdim=True).clamp_min(1e-30))
        blocks = self.features.new_empty(len(weights), size, size)
        for block, scale, chosen in zip(blocks, top.sqrt(), rows, strict=True):
            part = self.features[chosen] * scale[:, None]
            torch.mm(part.T, part, out=block)
        diagonal = blocks.diagonal(dim1=1, dim2=2)
        diagonal += self.penalty + 1e-6 * diagonal.amax(1, keepdim=True)
        diagonal[:, -1] += damping
        factor, failed = torch.linalg.cholesky_ex(blocks)
        self.inverse = None if bool(failed.any()) else torch.cholesky_inverse(factor)

    def precondition(self, rows: Tensor, diagonal: Tensor) -> Tensor:
        """The preconditioner's inverse times [K, B, r]; the Hessian's diagonal [B, r] stands in until there is one."""
        if self.inverse is None:
            return level(rows / diagonal)
        if len(self.inverse) == 1:
            return level((rows.flatten(0, 1) @ self.inverse[0]).view(rows.shape))
        return level(rows @ self.inverse)


def level(rows: Tensor) -> Tensor:
    """Biases made to sum to zero over the classes: an equal shift of all changes nothing and would drift."""
    rows[..., -1] -= rows[..., -1].mean(0)
    return rows


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [B] of two [K, B, r]."""
    return (left * right).sum((0, 2))


def direction(problem: Problem, state: State, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """A truncated Newton step [K, B, r], its margins [K, B, n], and its slope (float64 [B], negative)."""
    values = state.values.to(state.weight.dtype)
    scale = values[None, :, None]
    gradient = level(scale * problem.back(problem.weighed(state.residual)) + problem.penalty * state.weight)
    probability, spread = problem.curvature(state.residual)
    spread = problem.weighed(spread)
    mean = spread.mean((0, 2))
    penalty = problem.penalty.repeat(len(values), 1)
    penalty[:, -1] = 1e-3 * values * mean * len(problem.labels) + 1e-9  # the bias's curvature vanishes once saturated
    diagonal = (values * mean)[:, None] * problem.squares + penalty
    step, margins = torch.zeros_like(gradient), torch.zeros_like(state.margins)
    residual = -gradient
    ready = problem.precondition(residual, diagonal)
    search, error = ready, dot(residual, ready)
    goal = torch.maximum(FORCING**2 * error, 0.1 * tolerance * state.objective.to(error.dtype))
    count = 0
    while count < 100:
        count += 1
        reach, product = problem.curved(probability, search)
        product = scale * product + penalty * search
        bend = dot(search, product)
        length = torch.where((error > goal) & (bend > 0), error / bend, 0.0)[None, :, None]
        step += length * search
        margins += length * reach
        residual -= length * product
        ready = problem.precondition(residual, diagonal)
        left = dot(residual, ready)
        if not bool((left > goal).any()):
            break
        search = ready + torch.where(left > goal, left / error, 0.0)[None, :, None] * search
        error = torch.where(left > goal, left, 0.0)
    rows, width = problem.features.shape
    if count > PATIENCE + problem.sampled * width / (10 * rows):  # a factorisation's price in steps
        problem.factorise((spread * scale).mean(1), float(penalty[:, -1].mean()))
    return step, margins, dot(gradient, step).double()


def descend(
    problem: Problem, start: Tensor, values: Tensor, tolerance: float, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [K, B, r], Newton steps taken [B] and whether each value converged [B], from `start` [K, B, r].

    A value is done when a full Newton step promises less than `tolerance` of its objective; that step is still taken.
    """
    found, taken = start.clone(), torch.zeros_like(values, dtype=torch.long)
    converged = torch.zeros_like(values, dtype=torch.bool)
    active = torch.arange(len(values), device=values.device)
    state = problem.state(start, problem.margins(start), values)
    for _ in range(steps):
        step, reach, slope = direction(problem, state, tolerance)
        length = torch.ones_like(state.objective)
        for _ in range(25):
            size = length.to(step.dtype)[None, :, None]
            tried = problem.state(state.weight + size * step, state.margins + size * reach, state.values)
            worse = ~(tried.objective <= state.objective * (1 + 1e-6) + 1e-4 * length * slope)
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        done = (-0.5 * slope <= tolerance * tried.objective) & (length == 1)
        if bool(worse.any()):  # no descent left in this precision: leave these where they were
            active, tried, done = active[~worse], tried.keep(~worse), done[~worse]
        found[:, active], taken[active] = tried.weight, taken[active] + 1
        converged[active] = done
        state = tried
        if bool(done.any()):
            active, state = active[~done], tried.keep(~done)
        if not len(active):
            break
    return found, taken, converged


def predict(problem: Problem, solved: dict[float, Tensor], values: Tensor, points: int) -> Tensor:
    """Starting weights [K, B, r]: a polynomial in log C through the nearest solutions, or the nearest if better."""
    if not solved:
        return problem.features.new_zeros(problem.classes, len(values), problem.features.shape[1])
    guesses, nearest = [], []
    for value in values.tolist():
        near = sorted(solved, key=lambda other: abs(math.log(other / value)))[:points]
        lagrange = [math.prod(math.log(value / b) / math.log(a / b) for b in near if b != a) for a in near]
        guesses.append(torch.stack([c * solved[a] for c, a in zip(lagrange, near, strict=True)]).sum(0))
        nearest.append(solved[near[0]])
    bent, flat = torch.stack(guesses, 1), torch.stack(nearest, 1)
    better = [problem.state(w, problem.margins(w), values).objective for w in (bent, flat)]
    return torch.where((better[0] < better[1])[None, :, None], bent, flat)


def path(problem: Problem, values: list[float], tolerance: float, steps: int) -> tuple[Tensor, list[int], list[bool]]:
    """Weights [G, K, r], Newton steps and convergence for `values` of C, ascending and all different."""
    block = max(1, min(BLOCK, ELEMENTS // (problem.classes * len(problem.labels))))
    nodes = sorted({*values[::STRIDE], values[-1]})
    between = [value for value in reversed(values) if value not in nodes]
    rounds = [([value], 2) for value in nodes]
    rounds += [(between[at : at + block], 4) for at in range(0, len(between), block)]
    solved: dict[float, Tensor] = {}
    facts: dict[float, tuple[int, bool]] = {}
    for part, points in rounds:
        tensor = torch.tensor(part, dtype=torch.float64, device=problem.features.device)
        start = predict(problem, solved, tensor, points)
        weight, count, good = descend(problem, start, tensor, tolerance, steps)
        solved.update(zip(part, weight.unbind(1), strict=True))
        facts.update(zip(part, zip(count.tolist(), good.tolist(), strict=True), strict=True))
    return torch.stack([solved[v] for v in values]), [facts[v][0] for v in values], [facts[v][1] for v in values]
