"""Multinomial logistic regression with an L2 penalty, for many values of C: truncated Newton along the path of C.

Notation: n rows x_i of r numbers (the last is a 1, for the bias), K classes, B values of C that are solved together.
W [K, r] is a head, z_i = W x_i are the logits of a row, p_i = softmax(z_i), y_i is its label and w_i its importance.
``*`` multiplies element by element. For one value of C:

    objective    F(W) = C sum_i w_i loss_i + 1/2 sum_kj penalty_j W_kj^2,    loss_i = logsumexp(z_i) - z_i[y_i]
    gradient   dF/dW_k = C sum_i w_i (p_ik - [k = y_i]) x_i + penalty * W_k
    Hessian    (H V)_k = C sum_i w_i p_ik (u_ik - sum_l p_il u_il) x_i + penalty * V_k,    u_i = V x_i

The bias has the penalty 0. The other penalties differ because the features are whitened: `headstart.probe.linear`
derives them. F is convex: the order of the values and the starting points decide only the time, not (to the tolerance)
the solution.

- Order: every STRIDE-th value of C is solved first, one at a time, from strong to weak regularisation. The values
  between them follow in blocks. One product with the features serves all values and classes of a block.
- Start: solutions change smoothly with log C, so each start is a polynomial through the nearest solutions (`predict`).
  Near its solution F is almost quadratic, and few Newton steps are needed.
- Newton step: conjugate gradients need only products H V, never H itself, which has (K r)^2 numbers. They stop early
  ("truncated"; Lin, Weng & Keerthi 2008, "Trust region Newton method for large-scale logistic regression"; here a line
  search takes the place of their trust region).
- Preconditioner: it is rebuilt only when a solve took so many steps that this pays (`headstart.probe.precondition`).
- Zero sum: the gradient of the losses sums to zero over the classes. At the optimum that of the penalty must then do so
  too, and so must each feature's weights. `level` keeps them so all the way, and chooses biases that sum to zero.
- Smoothed labels: the target (1 - s) onehot + s/K adds ``s (z_i[y_i] - mean_k z_ik)`` to loss_i. This is linear in W:
  it adds a constant to the gradient, which `Problem` computes once, and nothing to the Hessian.
- Precision: where data are separable and regularisation is weak, losses and residuals go to zero. As differences of
  numbers near 1 they would be lost in float32. They are computed from margins, z_ik - z_i[y_i], and keep their digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.probe.choice import Targets
from headstart.probe.precondition import Curvature, Inverse, blocks, pairs, price

BLOCK = 3  # values solved together after the path; they share one preconditioner, so their C must be close
ELEMENTS = 2**25  # limit for one array of logits [K, B, n]; about six such arrays exist at once
STRIDE = 2  # the path visits every second value
POINTS = 4  # solutions that a start is computed from: a cubic
FORCING = 0.1  # conjugate gradients stop when the error of the Newton step is this share of what it was
PATIENCE = 5  # conjugate-gradient steps that are always accepted without a new preconditioner
SOLVES = 20  # Newton systems over which the price of a preconditioner of pairs is spread
DAMPING = 1e-9  # added to the Hessian of the biases, times their mean curvature; larger values shorten Newton steps
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

    def keep(self, rows: Tensor) -> State:
        """The state of some of the values: ``rows`` is a mask or indices into B."""
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
        # sum_i w_i x_ij^2 [r], for the rough diagonal of the Hessian in `direction`
        squares = self.features.square()
        self.squares = (squares if self.importance is None else squares.mul_(self.importance[:, None])).sum(0)
        self.pull = self._pull(targets.smoothing)
        self.inverse: Inverse | None = None
        self.paired = False  # whether `inverse` was made by `pairs`

    def _pull(self, smoothing: float) -> Tensor:
        """The gradient of the smoothing term [K, 1, r]: ``s sum_i w_i ([k = y_i] - 1/K) x_i`` for class k."""
        sums = self.features.new_zeros(self.classes, self.features.shape[1])
        if smoothing:
            # class by class: `index_add_` on a GPU adds in a different order each time, and results would differ
            for name, row in enumerate(sums):
                mine = self.labels == name
                part = self.features[mine]
                row[:] = part.sum(0) if self.importance is None else self.importance[mine] @ part
        # the sum over all rows is the sum of the classes' sums: subtracting the mean of these is the term with 1/K
        return smoothing * level(sums)[:, None]

    def margins(self, weight: Tensor) -> Tensor:
        """Margins z_ik - z_i[y_i] [K, B, n] of weights [K, B, r]; 2 n r K B operations."""
        logits = (weight.flatten(0, 1) @ self.features.T).view(*weight.shape[:2], -1)
        return logits.sub_(logits.gather(0, self.labels.expand(1, weight.shape[1], -1)))

    def curved(self, probability: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """The margins [K, B, n] of directions V [K, B, r], and the Hessian of sum_i w_i loss_i times V [K, B, r].

        The Hessian of one row's loss is the Kronecker product of ``diag(p) - p p'`` and ``x x'``. Its product with V is
        ``p_k (u_k - sum_l p_l u_l) x`` for class k, where u = V x. So two matrix products, with X and back with its
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

    def back(self, rows: Tensor) -> Tensor:
        """Sum over rows of a number per row times x_i: [K, B, n] -> [K, B, r], the transpose of X."""
        return (rows.flatten(0, 1) @ self.features).view(*rows.shape[:2], -1)

    def weighed(self, rows: Tensor) -> Tensor:
        """Numbers per row [..., n] times the importance of each row."""
        return rows if self.importance is None else rows * self.importance

    def state(self, weight: Tensor, margins: Tensor, values: Tensor) -> State:
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
        objective = values * (self.weighed(loss).sum(1, dtype=torch.float64) + pulled) + 0.5 * norm
        return State(weight, margins, values, objective, residual)

    def curvature(self, residual: Tensor) -> tuple[Tensor, Tensor]:
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
        return level(rows / diagonal if self.inverse is None else self.inverse(rows))

    def renew(self, steps: int, at: Curvature) -> None:
        """Rebuild the preconditioner if a solve took more conjugate-gradient steps than a new one costs.

        Args:
            steps: of the solve.
            at: the curvature at the point where the solve began.
        """
        rows, width = self.features.shape
        cheap, dear = price(rows, width, self.classes)
        # pairs cost much and stay good for longer: their price is spread over SOLVES systems. While they are in use,
        # blocks do not replace them before pairs were due to be rebuilt and could not be.
        made = pairs(at) if steps > PATIENCE + dear / SOLVES else None
        if made is not None:
            self.inverse, self.paired = made, True
        elif steps > PATIENCE + (dear / SOLVES if self.paired else cheap):
            self.inverse, self.paired = blocks(at) or self.inverse, False


def level(rows: Tensor) -> Tensor:
    """Subtract, in place, the mean over the classes (dimension 0).

    An equal shift of all classes changes no probability. Along it the Hessian is the penalty alone, too little for
    conjugate gradients to notice: rounding errors would add up to a shift that no step takes back.
    """
    return rows.sub_(rows.mean(0))


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [B] of two arrays [K, B, r], one for each value of C."""
    return (left * right).sum((0, 2))


def direction(problem: Problem, state: State, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """A truncated Newton step d, which solves H d = -g roughly, by preconditioned conjugate gradients.

    The names below and the usual symbols (Nocedal & Wright, "Numerical Optimization", algorithm 5.3, where r has the
    opposite sign), with M the preconditioner:

        step d;  residual r = -g - H d;  ready z = M^-1 r;  search p;  product H p;  bend p' H p
        error r' z;  length alpha = r' z / p' H p;  left r' z after the step;  left / error beta

    Returns:
        d [K, B, r], its margins [K, B, n], and its slope g' d (float64 [B], negative).
    """
    values = state.values.to(state.weight.dtype)
    scale = values[None, :, None]
    # g_k = C (sum_i w_i (p_ik - [k = y_i]) x_i + smoothing) + penalty * W_k
    from_rows = problem.back(problem.weighed(state.residual)) + problem.pull
    gradient = level(scale * from_rows + problem.penalty * state.weight)
    probability, spread = problem.curvature(state.residual)
    mean = problem.weighed(spread).mean((0, 2))
    penalty = problem.penalty.repeat(len(values), 1)
    # The bias has no penalty, and its curvature C sum_i w_i p (1 - p) goes to 0 where all rows are classified rightly.
    # A little of its mean over the classes, and 1e-9, keep H invertible. F is without them: its optimum does not move.
    penalty[:, -1] = DAMPING * values * mean * len(problem.labels) + 1e-9
    # rough diagonal of H [B, r], with the mean of w p (1 - p) in place of each row's p (1 - p); unequal w enter twice
    diagonal = (values * mean)[:, None] * problem.squares + penalty
    step, margins = torch.zeros_like(gradient), torch.zeros_like(state.margins)
    # d = 0, so r = -g and p = z
    residual = -gradient
    ready = problem.precondition(residual, diagonal)
    search, error = ready, dot(residual, ready)
    # With M near H, r' z = r' H^-1 r is the squared error of d in the norm of H, and twice what the quadratic model of
    # F could still fall. So stop at FORCING times the first error (squared here), or when the rest is of no importance
    # for the tolerance of F.
    goal = torch.maximum(FORCING**2 * error, 0.1 * tolerance * state.objective.to(error.dtype))
    count = 0
    while count < 100:
        count += 1
        reach, product = problem.curved(probability, search)
        product = scale * product + penalty * search
        bend = dot(search, product)
        # alpha; 0 for a value of C that has reached its goal, which then stays as it is while the others go on
        length = torch.where((error > goal) & (bend > 0), error / bend, 0.0)[None, :, None]
        step += length * search
        # margins are linear in the weights: those of d come from those of p without another product
        margins += length * reach
        residual -= length * product
        ready = problem.precondition(residual, diagonal)
        left = dot(residual, ready)
        if not bool((left > goal).any()):
            break
        # p = z + beta p
        search = ready + torch.where(left > goal, left / error, 0.0)[None, :, None] * search
        error = torch.where(left > goal, left, 0.0)
    # C w_i [B, 1 or n], the factor of each row's Hessian
    scale = state.values[:, None] if problem.importance is None else state.values[:, None] * problem.importance
    problem.renew(count, Curvature(problem.features, probability, spread, scale.to(penalty.dtype), penalty.mean(0)))
    return step, margins, dot(gradient, step).double()


def descend(
    problem: Problem, start: Tensor, values: Tensor, tolerance: float, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise F for B values of C by Newton steps with a line search.

    A value has converged when a full Newton step promises to lower F by at most `tolerance` of F. That step is taken.

    Args:
        start: weights [K, B, r].
        steps: the most Newton steps for each value.

    Returns:
        Weights [K, B, r], the number of Newton steps [B], and whether each value converged [B].
    """
    found, taken = start.clone(), torch.zeros_like(values, dtype=torch.long)
    converged = torch.zeros_like(values, dtype=torch.bool)
    active = torch.arange(len(values), device=values.device)
    state = problem.state(start, problem.margins(start), values)
    for _ in range(steps):
        step, reach, slope = direction(problem, state, tolerance)
        length = torch.ones_like(state.objective)
        # Backtracking: halve the length a until Armijo's condition F(W + a d) <= F(W) + 1e-4 a g'd holds. The 1e-6 is
        # room for float32's rounding of F. A trial needs no product with the features: margins are linear in W.
        for _ in range(25):
            size = length.to(step.dtype)[None, :, None]
            tried = problem.state(state.weight + size * step, state.margins + size * reach, state.values)
            # "not below" rather than "above", so that an objective of nan counts as worse
            worse = ~(tried.objective <= state.objective * (1 + 1e-6) + 1e-4 * length * slope)
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        # The quadratic model falls by -g'd - d'Hd/2, which is -g'd/2 where H d = -g (half the squared Newton decrement)
        done = (-0.5 * slope <= tolerance * tried.objective) & (length == 1)
        if bool(worse.any()):  # rounding hides any further descent: these values keep their last weights, unconverged
            active, tried, done = active[~worse], tried.keep(~worse), done[~worse]
        found[:, active], taken[active] = tried.weight, taken[active] + 1
        converged[active] = done
        state = tried
        if bool(done.any()):
            active, state = active[~done], tried.keep(~done)
        if not len(active):
            break
    return found, taken, converged


def predict(problem: Problem, solved: dict[float, Tensor], values: Tensor) -> Tensor:
    """Starting weights [K, B, r]: a polynomial in log C through the nearest solutions, or the nearest if it is better.

    With t = log C, Lagrange's polynomial through the solutions W_a at t_a of the (at most POINTS) nearest values is
    ``W(t) = sum_a L_a(t) W_a``, where ``L_a(t) = prod_{b != a} (t - t_b) / (t_a - t_b)``. Better is the lower F.
    """
    if not solved:
        return problem.features.new_zeros(problem.classes, len(values), problem.features.shape[1])
    guesses, nearest = [], []
    for value in values.tolist():
        near = sorted(solved, key=lambda other: abs(math.log(other / value)))[:POINTS]
        # log(C / C_b) = t - t_b
        lagrange = [math.prod(math.log(value / b) / math.log(a / b) for b in near if b != a) for a in near]
        guesses.append(torch.stack([c * solved[a] for c, a in zip(lagrange, near, strict=True)]).sum(0))
        nearest.append(solved[near[0]])
    # a polynomial may miss far outside its points; two evaluations of F cost less than a Newton step from a bad start
    bent, flat = torch.stack(guesses, 1), torch.stack(nearest, 1)
    better = [problem.state(w, problem.margins(w), values).objective for w in (bent, flat)]
    return torch.where((better[0] < better[1])[None, :, None], bent, flat)


def path(problem: Problem, values: list[float], tolerance: float, steps: int) -> tuple[Tensor, list[int], list[bool]]:
    """Solve for all `values` of C, which are ascending and all different.

    Returns:
        Weights [G, K, r] of the G values, their Newton steps, and whether each converged.
    """
    block = max(1, min(BLOCK, ELEMENTS // (problem.classes * len(problem.labels))))
    # First the nodes, one at a time from strong to weak regularisation: each start is extrapolated from those before.
    # Then the values between, in blocks: their starts are interpolated, and closer. They go back from the weak end,
    # which the path has just reached.
    nodes = sorted({*values[::STRIDE], values[-1]})
    between = [value for value in reversed(values) if value not in nodes]
    rounds = [[value] for value in nodes] + [between[at : at + block] for at in range(0, len(between), block)]
    solved: dict[float, Tensor] = {}
    facts: dict[float, tuple[int, bool]] = {}
    for part in rounds:
        tensor = torch.tensor(part, dtype=torch.float64, device=problem.features.device)
        start = predict(problem, solved, tensor)
        weight, count, good = descend(problem, start, tensor, tolerance, steps)
        solved.update(zip(part, weight.unbind(1), strict=True))
        facts.update(zip(part, zip(count.tolist(), good.tolist(), strict=True), strict=True))
    return torch.stack([solved[v] for v in values]), [facts[v][0] for v in values], [facts[v][1] for v in values]
