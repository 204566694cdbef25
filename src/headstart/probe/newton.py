"""Many L2-penalised multinomial logistic regressions on the same features, by truncated Newton along the path of C.

For each value C the objective is ``C * sum_i loss_i + 0.5 * sum_j penalty_j weight_j^2`` with a free bias; rows may
count unequally. Features are expected whitened, which is what the penalty's vector is for.

- Every STRIDE-th value is solved in turn, from strong to weak regularisation, each from a cubic in log C through those
  before it: the further a start is from its solution, the less a Newton step's quadratic model holds. The values
  between start from a cubic through their neighbours and are solved in blocks: one matrix product with the features
  serves all values and classes of a block.
- Newton steps come by conjugate gradients on Hessian products (Lin, Weng & Keerthi 2008, "Trust region Newton method
  for large-scale logistic regression", with a line search in place of the region).
- The preconditioner is made anew only when a solve took more steps than that costs (`headstart.probe.preconditioner`).
- Weights sum to zero over the classes, as at the optimum: an equal shift of all changes no probability, and only the
  penalty, too weak to be seen by conjugate gradients, would take it back.
- Smoothed labels, (1 - s) one-hot + s / K, add to the loss what is linear in the weights: the sum over rows of
  ``s (logit of the label - mean logit)``, whose gradient is made once.
- Losses, residuals and Hessian products are formed from differences to the true class's logit (margins): so float32
  keeps their relative precision where separable data and weak regularisation drive them towards zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.probe.base import Targets
from headstart.probe.preconditioner import Curvature, Inverse, invert_blocks, invert_pairs, price

BLOCK = 3  # values between the path's that are solved together: they share a preconditioner, so not too many
ELEMENTS = 2**25  # of one logits array; half a dozen live at once
STRIDE = 2  # of the values that are solved along the path
POINTS = 4  # that a start is extrapolated from
FORCING = 0.1  # a Newton system is solved to this share of its starting error
PATIENCE = 5  # conjugate-gradient steps before a new preconditioner is thought of
SOLVES = 20  # that a preconditioner of pairs has to pay off in
DAMPING = 1e-9  # of the biases, by the mean curvature; more than their own, and Newton steps fall short
PIECE = 2**19  # features that both halves of a Hessian product read together


@dataclass
class State:
    """Solutions under way: weights [K, B, r], margins and one-hot residuals [K, B, n], values, objectives [B]."""

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
    """The training rows: features [n, r - 1], to which the bias's ones are added, and what they are fitted to.

    Args:
        penalty: of each weight's square [r - 1].
    """

    def __init__(self, features: Tensor, targets: Targets, penalty: Tensor) -> None:
        self.features = torch.cat([features, features.new_ones(len(features), 1)], 1)
        self.penalty = torch.cat([penalty, penalty.new_zeros(1)])
        self.labels, self.classes, self.importance = targets.labels, targets.classes, targets.weights
        squares = self.features.square()
        self.squares = (squares if self.importance is None else squares.mul_(self.importance[:, None])).sum(0)
        self.pull = self._pull(targets.smoothing)
        self.inverse: Inverse | None = None
        self.paired = False  # whether that is of pairs

    def _pull(self, smoothing: float) -> Tensor:
        """The gradient of what smoothing adds [K, 1, r]; by class, as `index_add_` would sum in any order on a GPU."""
        sums = self.features.new_zeros(self.classes, self.features.shape[1])
        if smoothing:
            for name, row in enumerate(sums):
                mine = self.labels == name
                part = self.features[mine]
                row[:] = part.sum(0) if self.importance is None else self.importance[mine] @ part
        return smoothing * level(sums)[:, None]

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
        """The objective, and the residuals of the labels before smoothing, at `weight`, whose `margins` are given."""
        true = self.labels.expand(1, margins.shape[1], -1)
        top = margins.amax(0)
        odds = (margins - top).exp_()
        own = odds.gather(0, true)
        others = odds.scatter_(0, true, 0.0).sum(0)
        loss = top + torch.log1p((own[0] - 1) + others)
        total = others + own[0]
        residual = odds.div_(total).scatter_(0, true, -(others / total)[None])
        norm = (weight.square() * self.penalty).sum((0, 2), dtype=torch.float64)
        pulled = (weight * self.pull).sum((0, 2), dtype=torch.float64)
        objective = values * (self.weighed(loss).sum(1, dtype=torch.float64) + pulled) + 0.5 * norm
        return State(weight, margins, values, objective, residual)

    def curvature(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities p and p (1 - p), both [K, B, n], the second without cancellation."""
        true = self.labels.expand(1, residual.shape[1], -1)
        miss = -residual.gather(0, true)
        probability = residual.scatter(0, true, 1 - miss)
        rest = (1 - residual).scatter_(0, true, miss)
        return probability, rest.mul_(probability)

    def precondition(self, rows: Tensor, diagonal: Tensor) -> Tensor:
        """The preconditioner times [K, B, r], levelled; the Hessian's diagonal [B, r] stands in until there is one."""
        return level(rows / diagonal if self.inverse is None else self.inverse(rows))

    def renew(self, steps: int, at: Curvature) -> None:
        """A new preconditioner, where a solve of so many steps says that one is worth its price."""
        rows, width = self.features.shape
        cheap, dear = price(rows, width, self.classes)
        made = invert_pairs(at) if steps > PATIENCE + dear / SOLVES else None
        if made is not None:
            self.inverse, self.paired = made, True
        elif steps > PATIENCE + (dear / SOLVES if self.paired else cheap):
            self.inverse, self.paired = invert_blocks(at) or self.inverse, False


def level(rows: Tensor) -> Tensor:
    """Made, in place, to sum to zero over the classes: an equal shift of all is in no gradient, and would drift."""
    return rows.sub_(rows.mean(0))


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [B] of two [K, B, r]."""
    return (left * right).sum((0, 2))


def newton_step(problem: Problem, state: State, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """A truncated Newton step [K, B, r], its margins [K, B, n], and its slope (float64 [B], negative)."""
    values = state.values.to(state.weight.dtype)
    scale = values[None, :, None]
    from_rows = problem.back(problem.weighed(state.residual)) + problem.pull
    gradient = level(scale * from_rows + problem.penalty * state.weight)
    probability, spread = problem.curvature(state.residual)
    mean = problem.weighed(spread).mean((0, 2))
    penalty = problem.penalty.repeat(len(values), 1)
    penalty[:, -1] = DAMPING * values * mean * len(problem.labels) + 1e-9  # none is left where all rows are right
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
    scale = state.values[:, None] if problem.importance is None else state.values[:, None] * problem.importance
    problem.renew(count, Curvature(problem.features, probability, spread, scale.to(penalty.dtype), penalty.mean(0)))
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
        step, reach, slope = newton_step(problem, state, tolerance)
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


def extrapolate(problem: Problem, solved: dict[float, Tensor], values: Tensor) -> Tensor:
    """Starting weights [K, B, r]: a polynomial in log C through the nearest solutions, or the nearest if better."""
    if not solved:
        return problem.features.new_zeros(problem.classes, len(values), problem.features.shape[1])
    guesses, nearest = [], []
    for value in values.tolist():
        near = sorted(solved, key=lambda other: abs(math.log(other / value)))[:POINTS]
        lagrange = [math.prod(math.log(value / b) / math.log(a / b) for b in near if b != a) for a in near]
        guesses.append(torch.stack([c * solved[a] for c, a in zip(lagrange, near, strict=True)]).sum(0))
        nearest.append(solved[near[0]])
    bent, flat = torch.stack(guesses, 1), torch.stack(nearest, 1)
    better = [problem.state(w, problem.margins(w), values).objective for w in (bent, flat)]
    return torch.where((better[0] < better[1])[None, :, None], bent, flat)


def solve_path(
    problem: Problem, values: list[float], tolerance: float, steps: int
) -> tuple[Tensor, list[int], list[bool]]:
    """Weights [G, K, r], Newton steps and convergence for `values` of C, ascending and all different."""
    block = max(1, min(BLOCK, ELEMENTS // (problem.classes * len(problem.labels))))
    nodes = sorted({*values[::STRIDE], values[-1]})
    between = [value for value in reversed(values) if value not in nodes]
    rounds = [[value] for value in nodes] + [between[at : at + block] for at in range(0, len(between), block)]
    solved: dict[float, Tensor] = {}
    facts: dict[float, tuple[int, bool]] = {}
    for part in rounds:
        tensor = torch.tensor(part, dtype=torch.float64, device=problem.features.device)
        start = extrapolate(problem, solved, tensor)
        weight, count, good = descend(problem, start, tensor, tolerance, steps)
        solved.update(zip(part, weight.unbind(1), strict=True))
        facts.update(zip(part, zip(count.tolist(), good.tolist(), strict=True), strict=True))
    return torch.stack([solved[v] for v in values]), [facts[v][0] for v in values], [facts[v][1] for v in values]
