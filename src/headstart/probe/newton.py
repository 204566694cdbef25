"""Multinomial logistic regression with an L2 penalty, for many values of C: truncated Newton along the path of C.

Notation: n rows x_i of r numbers (the last is a 1, for the bias), K classes, B values of C that are solved together.
W [K, r] is a head, z_i = W x_i are the logits of a row, p_i = softmax(z_i), y_i is its label and w_i its importance.
`*` multiplies element by element. For one value of C:

    objective    F(W) = C sum_i w_i loss_i + 1/2 sum_kj penalty_j W_kj^2,    loss_i = logsumexp(z_i) - z_i[y_i]
    gradient   dF/dW_k = C sum_i w_i (p_ik - [k = y_i]) x_i + penalty * W_k
    Hessian    (H V)_k = C sum_i w_i p_ik (u_ik - sum_l p_il u_il) x_i + penalty * V_k,    u_i = V x_i

The bias has the penalty 0. The other penalties differ because the features are whitened: `headstart.probe.linear`
derives them. F is convex: the order of the values and the starting points decide only the time, not (to the tolerance)
the solution.

- Order: every STRIDE-th value of C is solved first, one at a time, from strong to weak regularisation. The values
  between them follow in blocks. One product with the features serves all values and classes of a block.
- Start: solutions change smoothly with log C, so each start is a polynomial through the nearest solutions
  (`extrapolate`).
  Near its solution F is almost quadratic, and few Newton steps are needed.
- Newton step: conjugate gradients need only products H V, never H itself, which has (K r)^2 numbers. They stop early
  ("truncated"; Lin, Weng & Keerthi 2008, "Trust region Newton method for large-scale logistic regression"; here a line
  search takes the place of their trust region).
- Preconditioner: it is rebuilt only when a solve took so many steps that this pays (`headstart.probe.preconditioner`).
- Zero sum: the gradient of the losses sums to zero over the classes. At the optimum that of the penalty must then do so
  too, and so must each feature's weights. `subtract_class_mean` keeps them so all the way, and chooses biases that sum
  to zero.
- Smoothed labels: the target (1 - s) onehot + s/K adds `s (z_i[y_i] - mean_k z_ik)` to loss_i. This is linear in W:
  it adds a constant to the gradient, which `Problem` computes once, and nothing to the Hessian.
- Precision: where data are separable and regularisation is weak, losses and residuals go to zero. As differences of
  numbers near 1 they would be lost in float32. They are computed from margins, z_ik - z_i[y_i], and keep their digits.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from headstart.probe.logistic_problem import Problem, State, dot, subtract_class_mean
from headstart.probe.preconditioner import Curvature

BLOCK = 3  # values solved together after the path; they share one preconditioner, so their C must be close
ELEMENTS = 2**25  # limit for one array of logits [K, B, n]; about six such arrays exist at once
STRIDE = 2  # the path visits every second value
POINTS = 4  # solutions that a start is computed from: a cubic
MOST_STEPS = 100  # of conjugate gradients
FORCING = 0.1  # conjugate gradients stop when the error of the Newton step is this share of what it was
DAMPING = 1e-9  # added to the Hessian of the biases, times their mean curvature; larger values shorten Newton steps


def newton_step(problem: Problem, state: State, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """A truncated Newton step d, which solves H d = -g roughly, by preconditioned conjugate gradients.

    Returns:
        d [K, B, r], its margins [K, B, n], and its slope g' d (float64 [B], negative).
    """
    values = state.values.to(state.weight.dtype)
    scale = values[None, :, None]
    # g_k = C (sum_i w_i (p_ik - [k = y_i]) x_i + smoothing) + penalty * W_k
    from_rows = problem.sum_rows(problem.apply_importance(state.residual)) + problem.pull
    gradient = subtract_class_mean(scale * from_rows + problem.penalty * state.weight)
    probability, spread = problem.compute_curvature(state.residual)
    mean = problem.apply_importance(spread).mean((0, 2))
    penalty = problem.penalty.repeat(len(values), 1)
    # The bias has no penalty, and its curvature C sum_i w_i p (1 - p) goes to 0 where all rows are classified rightly.
    # A little of its mean over the classes, and 1e-9, keep H invertible. F is without them: its optimum does not move.
    penalty[:, -1] = DAMPING * values * mean * len(problem.labels) + 1e-9
    # rough diagonal of H [B, r], with the mean of w p (1 - p) in place of each row's p (1 - p); unequal w enter twice
    diagonal = (values * mean)[:, None] * problem.squares + penalty

    def multiply(search: Tensor) -> tuple[Tensor, Tensor]:
        reach, product = problem.multiply_hessian(probability, search)
        return reach, scale * product + penalty * search

    step, margins, count = _conjugate_gradients(
        multiply,
        lambda residual: problem.precondition(residual, diagonal),
        gradient,
        torch.zeros_like(state.margins),
        0.1 * tolerance * state.objective,
    )
    # C w_i [B, 1 or n], the factor of each row's Hessian
    scale = state.values[:, None] if problem.importance is None else state.values[:, None] * problem.importance
    problem.renew(count, Curvature(problem.features, probability, spread, scale.to(penalty.dtype), penalty.mean(0)))
    return step, margins, dot(gradient, step).double()


def _conjugate_gradients(
    multiply: Callable[[Tensor], tuple[Tensor, Tensor]],
    precondition: Callable[[Tensor], Tensor],
    gradient: Tensor,
    margins: Tensor,
    unimportant: Tensor,
) -> tuple[Tensor, Tensor, int]:
    """Solve H d = -g roughly for each value of C.

    The names below and the usual symbols (Nocedal & Wright, "Numerical Optimization", algorithm 5.3, where r has the
    opposite sign), with M the preconditioner:

        step d;  residual r = -g - H d;  ready z = M^-1 r;  search p;  product H p;  bend p' H p
        error r' z;  length alpha = r' z / p' H p;  left r' z after the step;  left / error beta

    Args:
        multiply: gives the margins of p, and H p.
        precondition: gives z.
        margins: zeros [K, B, n], to which the margins of d are added.
        unimportant: an error [B] that is too small to matter for the tolerance of F.

    Returns:
        d, its margins, and the number of steps.
    """
    step, residual = torch.zeros_like(gradient), -gradient  # d = 0, so r = -g and p = z
    ready = precondition(residual)
    search, error = ready, dot(residual, ready)
    # With M near H, r' z = r' H^-1 r is the squared error of d in the norm of H, and twice what the quadratic model of
    # F could still fall. So stop at FORCING times the first error (squared here), or when the rest is unimportant.
    goal = torch.maximum(FORCING**2 * error, unimportant.to(error.dtype))
    count = 0
    while count < MOST_STEPS:
        count += 1
        reach, product = multiply(search)
        bend = dot(search, product)
        # alpha; 0 for a value of C that has reached its goal: its step no longer changes while the others go on
        length = torch.where((error > goal) & (bend > 0), error / bend, 0.0)[None, :, None]
        step += length * search
        # margins are linear in the weights: those of d come from those of p without another product
        margins += length * reach
        residual -= length * product
        ready = precondition(residual)
        left = dot(residual, ready)
        if not bool((left > goal).any()):
            break
        # p = z + beta p
        search = ready + torch.where(left > goal, left / error, 0.0)[None, :, None] * search
        error = torch.where(left > goal, left, 0.0)
    return step, margins, count


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
    state = problem.evaluate(start, problem.compute_margins(start), values)
    for _ in range(steps):
        step, reach, slope = newton_step(problem, state, tolerance)
        length = torch.ones_like(state.objective)
        # Backtracking: halve the length a until Armijo's condition F(W + a d) <= F(W) + 1e-4 a g'd holds. The 1e-6 is
        # room for float32's rounding of F. A trial needs no product with the features: margins are linear in W.
        for _ in range(25):
            size = length.to(step.dtype)[None, :, None]
            tried = problem.evaluate(state.weight + size * step, state.margins + size * reach, state.values)
            # "not below" rather than "above", so that an objective of nan counts as worse
            worse = ~(tried.objective <= state.objective * (1 + 1e-6) + 1e-4 * length * slope)
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        # The quadratic model falls by -g'd - d'Hd/2, which is -g'd/2 where H d = -g (half the squared Newton decrement)
        done = (-0.5 * slope <= tolerance * tried.objective) & (length == 1)
        if bool(worse.any()):  # rounding hides any further descent: these values keep their last weights, unconverged
            active, tried, done = active[~worse], tried.select(~worse), done[~worse]
        found[:, active], taken[active] = tried.weight, taken[active] + 1
        converged[active] = done
        state = tried
        if bool(done.any()):
            active, state = active[~done], tried.select(~done)
        if not len(active):
            break
    return found, taken, converged


def extrapolate(problem: Problem, solved: dict[float, Tensor], values: Tensor) -> Tensor:
    """Starting weights [K, B, r]: a polynomial in log C through the nearest solutions, or the nearest if it is better.

    With t = log C, Lagrange's polynomial through the solutions W_a at t_a of the (at most POINTS) nearest values is
    `W(t) = sum_a L_a(t) W_a`, where `L_a(t) = prod_{b != a} (t - t_b) / (t_a - t_b)`. Better is the lower F.
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
    better = [problem.evaluate(w, problem.compute_margins(w), values).objective for w in (bent, flat)]
    return torch.where((better[0] < better[1])[None, :, None], bent, flat)


def solve_path(
    problem: Problem, values: list[float], tolerance: float, steps: int
) -> tuple[Tensor, list[int], list[bool]]:
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
        start = extrapolate(problem, solved, tensor)
        weight, count, good = descend(problem, start, tensor, tolerance, steps)
        solved.update(zip(part, weight.unbind(1), strict=True))
        facts.update(zip(part, zip(count.tolist(), good.tolist(), strict=True), strict=True))
    return torch.stack([solved[v] for v in values]), [facts[v][0] for v in values], [facts[v][1] for v in values]
