"""Linear heads trained by SGD: all learning rates and weight decays of a grid are trained together."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe.base import Probe, Targets, sort_values
from headstart.probe.linear import Heads
from headstart.tracking import progress

ROWS = 8192  # rows converted to float32 together for their mean and variance
WIDE = 64  # rows of a gradient from which on its transpose is faster to compute (measured on 2 threads)
PRODUCTS = {"32": torch.float32, "bf16": torch.bfloat16}
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class LinearHeads(Probe):
    """One linear layer per learning rate and weight decay, trained together by SGD with momentum and a cosine schedule.

    All heads on one set of features are stacked in one matrix: a step needs one product forward, one backward and one
    optimizer for all of them. Features are centred, divided by the square root of their standard deviation (as
    `Logistic` does by default) and scaled to a mean variance of 1, so that a learning rate means the same on any
    network. This normalisation is folded into the final heads.

    Args:
        lrs: learning rates that are tried.
        weight_decays: decays of the weights (not the biases) that are tried with each rate.
        epochs: passes over the training rows.
        batch_size: rows per step.
        momentum: of SGD.
        precision: `32`, or `bf16` for the two products alone, which are rounded as by autocast. Many heads then
            take two thirds of the time on a processor with bfloat16 instructions, and longer on one without. Weights,
            normalisation, softmax and steps stay in float32.
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    smooths = True

    def __init__(
        self,
        lrs: Sequence[float] = RATES,
        weight_decays: Sequence[float] = (0.0,),
        epochs: int = 100,
        batch_size: int = 1024,
        momentum: float = 0.9,
        precision: str = "32",
        refit: bool = False,
        layers: Sequence[int] = (-1,),
        poolings: Sequence[str] = ("avg",),
    ) -> None:
        decays = sort_values(weight_decays, "weight_decays", zero=True)[::-1]
        super().__init__([(lr, decay) for lr in sort_values(lrs, "lrs") for decay in decays], refit, layers, poolings)
        if not all(isinstance(number, int) and number >= 1 for number in (epochs, batch_size)):
            raise UserError(f"probe: epochs={epochs} and batch_size={batch_size} must be whole numbers of at least 1")
        if not 0 <= momentum < 1:
            raise UserError(f"probe.momentum={momentum}: must be at least 0 and below 1")
        if str(precision) not in PRODUCTS:
            raise UserError(f"probe.precision={precision}: one of {', '.join(PRODUCTS)}")
        self.noun = "learning rate" if len(decays) == 1 else "pair of learning rate and weight decay"
        self.epochs, self.batch_size, self.momentum = epochs, batch_size, momentum
        self.dtype = PRODUCTS[str(precision)]

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[Heads]:
        """Train a head for each rate and decay on each set of features, all in the same steps on the same batches."""
        labels, weights = targets.labels, targets.weights
        rates, decays = torch.tensor(values, device=labels.device).T
        stacks = [_Stack(part, rates, decays, targets, self.dtype) for part in parts]
        # v <- momentum v + lr_h g,  W <- W - c_t v. Each head h has its rate lr_h in its gradient already; the rate of
        # the optimizer is the schedule c_t alone. This equals SGD with the rate c_t lr_h for each head.
        optimizer = torch.optim.SGD([p for s in stacks for p in s.parameters()], lr=1.0, momentum=self.momentum)
        # of mean 1, so that weighted rows do not change the size of a step
        importance = None if weights is None else (weights / weights.mean()).float()
        generator = torch.Generator().manual_seed(seed)
        steps = self.epochs * math.ceil(len(labels) / self.batch_size)
        with progress.task("training linear heads", steps, "steps") as work:
            for _ in range(self.epochs):
                for rows in torch.randperm(len(labels), generator=generator).to(labels.device).split(self.batch_size):
                    # cosine from 1 to (almost) 0 over all steps
                    optimizer.param_groups[0]["lr"] = 0.5 * (1 + math.cos(math.pi * work.done / steps))
                    for stack in stacks:
                        stack.differentiate(rows, labels[rows], None if importance is None else importance[rows])
                    optimizer.step()
                    work.done += 1
        facts = [{"value": lr, "weight_decay": decay, "iterations": steps} for lr, decay in values]
        return [stack.make_heads(facts) for stack in stacks]


class _Stack(nn.Module):
    """The heads on one set of features: weights [heads x (classes - 1), d] and biases [heads x (classes - 1)].

    The last class is left out to save its share of the products, half of them for two classes. It is not a reference
    class with weight 0: every class has its own weights. For one row the gradient of class k is `(p_k - t_k) x`, and
    p and the target t both sum to 1, so the gradients sum to zero over the classes. Weights start at zero, and momentum
    and weight decay are linear. So the weights always sum to zero, and those of the last class are minus the sum of the
    others.
    """

    def __init__(self, x: Tensor, rates: Tensor, decays: Tensor, targets: Targets, dtype: torch.dtype) -> None:
        super().__init__()
        self.x, self.rates, self.free, self.dtype = x, rates, targets.classes - 1, dtype
        self.smoothing = targets.smoothing
        self.mean, spread = _compute_moments(x)
        # factor_j = std_j ^ -1/2 up to a constant; a small share of the mean prevents a huge factor for a feature that
        # hardly varies
        factor = (spread + 1e-3 * spread.mean()).clamp_min(1e-12).rsqrt()
        # (factor_j std_j)^2 is the variance of the normalised feature: its mean over the features becomes 1
        self.factor = factor / (factor * spread).square().mean().sqrt().clamp_min(1e-12)
        # the rate, and rate times decay, of each row of the matrix of weights
        self.steps = rates.repeat_interleave(self.free)
        self.shrink = (rates * decays).repeat_interleave(self.free)[:, None]
        self.decaying = bool(decays.any())
        self.bias = nn.Parameter(torch.zeros(len(rates) * self.free, device=rates.device))
        self.weight = nn.Parameter(_lay_out(self.bias.new_zeros(len(rates) * self.free, x.shape[1]), dtype))

    def differentiate(self, rows: Tensor, labels: Tensor, importance: Tensor | None) -> None:
        """Put each head's gradient, times its learning rate, into the parameters' `grad`.

        For class k of a head, over b rows: `dL/dW_k = 1/b sum_i w_i (p_ik - t_ik) x_i + decay W_k`, and
        `dL/db_k = 1/b sum_i w_i (p_ik - t_ik)`.
        """
        x = ((self.x[rows].float() - self.mean) * self.factor).to(self.dtype)
        with torch.no_grad():
            # w (p - t), [heads, classes - 1, b]
            miss = self.logits(x).softmax(1)[:, :-1].sub_(self._make_targets(labels))
            if importance is not None:
                miss *= importance
            miss = miss.flatten(0, 1)
            # [heads x (classes - 1), b] x [b, d]
            gradient = _multiply(miss.to(self.dtype), x).float()
            # The rate after the product, not before: small rates times small residuals would be denormal numbers, with
            # which processors multiply slowly.
            share = self.steps / len(x)
            self.weight.grad, self.bias.grad = gradient.mul_(share[:, None]), miss.sum(1).mul_(share)
            if self.decaying:
                self.weight.grad.addcmul_(self.shrink, self.weight)

    def _make_targets(self, labels: Tensor) -> Tensor:
        """Targets t = (1 - s) onehot + s/K of labels [b], for all classes but the last: [classes - 1, b]."""
        own = functional.one_hot(labels, self.free + 1).T[:-1].float()
        return own.mul_(1 - self.smoothing).add_(self.smoothing / (self.free + 1))

    def logits(self, x: Tensor) -> Tensor:
        """Logits in float32 [heads, classes, b] of normalised features [b, d].

        The rows are the last dimension, so that the softmax over the classes is vectorised over rows.
        """
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        exact = self.dtype == torch.float32
        # In float32 the last logit is minus the sum of the others, as the weights are. In bfloat16 that sum would
        # collect the rounding errors of all others: there the last weights are formed in float32 and multiplied too.
        if not exact:
            weight, bias = (self._append_last_class(values).flatten(0, 1) for values in (weight, bias))
        # [b, d] x [d, heads x classes], in this order because the rows of the first are shared among threads
        found = torch.addmm(bias.to(self.dtype), x, weight.to(self.dtype).T).float().T
        return self._append_last_class(found) if exact else found.reshape(len(self.rates), -1, len(x))

    def _append_last_class(self, values: Tensor) -> Tensor:
        """Append the last class, minus the sum of the others: [heads x (classes - 1), ...] to [heads, classes, ...]."""
        others = values.reshape(len(self.rates), self.free, *values.shape[1:])
        return torch.cat([others, -others.sum(1, keepdim=True)], dim=1)

    def make_heads(self, facts: list[dict[str, Any]]) -> Heads:
        """Make heads for the features as they were given, by folding the normalisation into the weights.

        `((x - mean) * factor) w = x (factor * w) - mean (factor * w)`: the first term gives the weight on x, the
        second goes into the bias (`Heads.undo_centring`).
        """
        weight = self._append_last_class(self.weight.detach() * self.factor)
        return Heads(weight, self._append_last_class(self.bias.detach()), facts).undo_centring(self.mean)


def _multiply(miss: Tensor, x: Tensor) -> Tensor:
    """`miss @ x` [m, d]; in float32, for many rows m, as the transpose of `x' miss'`, which is faster."""
    return (x.T @ miss.T).T if _is_transposed(miss) else miss @ x


def _lay_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Store the weight in the memory order of its gradients from `_multiply`, so that a step copies nothing."""
    return weight.T.contiguous().T if _is_transposed(weight.to(dtype)) else weight


def _is_transposed(rows: Tensor) -> bool:
    """Whether `_multiply` computes the transpose for a first factor of this shape and type."""
    return rows.dtype == torch.float32 and len(rows) >= WIDE


def _compute_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation [d] of features [n, d].

    Some rows at a time, because features may be kept in bfloat16 and are not held in float32 at once. Two passes,
    because mean(x^2) - mean(x)^2 would cancel.
    """
    zero = torch.zeros(x.shape[1], device=x.device)
    mean = sum((part.float().sum(0) for part in x.split(ROWS)), zero) / len(x)
    squares = sum(((part.float() - mean).square_().sum(0) for part in x.split(ROWS)), zero)
    return mean, (squares / len(x)).sqrt()
