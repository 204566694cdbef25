"""Linear heads trained by gradient, a grid of learning rates and weight decays in one pass over the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.errors import UserError
from headstart.probe.base import Probe, Targets, sort_values
from headstart.probe.linear import Heads

ROWS = 8192  # that are looked at together for their mean and variance
WIDE = 64  # rows of a gradient from which `_product` turns it round, on 2 threads
PRODUCTS = {"32": torch.float32, "bf16": torch.bfloat16}
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class LinearHeads(Probe):
    """Heads of one linear layer each, one per learning rate and weight decay, trained together by SGD with a cosine.

    All heads are the rows of one matrix per set of features: a step is one product forward and one backward, and one
    optimizer. A head's rate scales its loss, which is the same as scaling its steps. Features are centred, divided by
    the root of their standard deviation, as `Logistic` does, and scaled to a mean variance of 1, so that rates mean the
    same on any network; all that is folded into the head.

    Args:
        lrs: learning rates that are tried.
        weight_decays: of the heads' weights, tried with each rate.
        epochs: passes over the training rows.
        batch_size: rows per step.
        momentum: of SGD.
        precision: ``32``, or ``bf16`` for the products alone, rounded as autocast has them: many heads then take
            two thirds of the time on a processor that has such instructions, and longer on one that has not. Weights,
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
        self.epochs, self.batch_size, self.momentum = epochs, batch_size, momentum
        self.dtype = PRODUCTS[str(precision)]

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[Heads]:
        """A head per rate and decay on each set of features, all trained in the same steps."""
        labels, weights = targets.labels, targets.weights
        rates, decays = torch.tensor(values, device=labels.device).T
        stacks = [_Stack(part, rates, decays, targets, self.dtype) for part in parts]
        optimizer = torch.optim.SGD([p for s in stacks for p in s.parameters()], lr=1.0, momentum=self.momentum)
        importance = None if weights is None else (weights / weights.mean()).float()
        generator = torch.Generator().manual_seed(seed)
        done, steps = 0, self.epochs * math.ceil(len(labels) / self.batch_size)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(labels), generator=generator).to(labels.device).split(self.batch_size):
                optimizer.param_groups[0]["lr"] = 0.5 * (1 + math.cos(math.pi * done / steps))
                for stack in stacks:
                    stack.differentiate(rows, labels[rows], None if importance is None else importance[rows])
                optimizer.step()
                done += 1
        facts = [{"value": lr, "weight_decay": decay, "iterations": steps} for lr, decay in values]
        return [stack.heads(facts) for stack in stacks]


class _Stack(nn.Module):
    """Heads on one set of features, zero at the start: weights [heads x (classes - 1), d], biases alike.

    A gradient's rows sum to zero over a head's classes, and so do its weights: the last class is what is missing.
    """

    def __init__(self, x: Tensor, rates: Tensor, decays: Tensor, targets: Targets, dtype: torch.dtype) -> None:
        super().__init__()
        self.x, self.rates, self.free, self.dtype = x, rates, targets.classes - 1, dtype
        self.smoothing = targets.smoothing
        self.mean, spread = _moments(x)
        factor = (spread + 1e-3 * spread.mean()).clamp_min(1e-12).rsqrt()
        self.factor = factor / (factor * spread).square().mean().sqrt().clamp_min(1e-12)
        self.steps = rates.repeat_interleave(self.free)
        self.shrink = (rates * decays).repeat_interleave(self.free)[:, None]
        self.decaying = bool(decays.any())
        self.bias = nn.Parameter(torch.zeros(len(rates) * self.free, device=rates.device))
        self.weight = nn.Parameter(_laid_out(self.bias.new_zeros(len(rates) * self.free, x.shape[1]), dtype))

    def differentiate(self, rows: Tensor, labels: Tensor, importance: Tensor | None) -> None:
        """Leave each head's gradient, times its rate, on the parameters."""
        x = ((self.x[rows].float() - self.mean) * self.factor).to(self.dtype)
        with torch.no_grad():
            miss = self.logits(x).softmax(1)[:, :-1].sub_(self._wanted(labels))
            if importance is not None:
                miss *= importance
            miss = miss.flatten(0, 1)
            gradient = _product(miss.to(self.dtype), x).float()
            share = self.steps / len(x)
            self.weight.grad, self.bias.grad = gradient.mul_(share[:, None]), miss.sum(1).mul_(share)
            if self.decaying:
                self.weight.grad.addcmul_(self.shrink, self.weight)

    def _wanted(self, labels: Tensor) -> Tensor:
        """The probabilities that labels [b] ask for of all classes but the last [classes - 1, b]."""
        own = functional.one_hot(labels, self.free + 1).T[:-1].float()
        return own.mul_(1 - self.smoothing).add_(self.smoothing / (self.free + 1))

    def logits(self, x: Tensor) -> Tensor:
        """float32 [heads, classes, b] of normalised features [b, d]; rows last, so that a softmax is vectorised."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        exact = self.dtype == torch.float32
        if not exact:  # a sum of rounded logits would gather their errors: the last class is multiplied too
            weight, bias = (self._with_last(values).flatten(0, 1) for values in (weight, bias))
        # the long side first: its rows are shared among threads
        found = torch.addmm(bias.to(self.dtype), x, weight.to(self.dtype).T).float().T
        return self._with_last(found) if exact else found.reshape(len(self.rates), -1, len(x))

    def _with_last(self, values: Tensor) -> Tensor:
        """[heads, classes, ...] from [heads x (classes - 1), ...], all classes but the last: they sum to zero."""
        others = values.reshape(len(self.rates), self.free, *values.shape[1:])
        return torch.cat([others, -others.sum(1, keepdim=True)], dim=1)

    def heads(self, facts: list[dict[str, Any]]) -> Heads:
        """The heads on features as they were given."""
        weight = self._with_last(self.weight.detach() * self.factor)
        return Heads(weight, self._with_last(self.bias.detach()), facts).moved(self.mean)


def _product(miss: Tensor, x: Tensor) -> Tensor:
    """``miss @ x``; many rows of float32 are multiplied the other way round, which is faster."""
    return (x.T @ miss.T).T if _turned(miss) else miss @ x


def _laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight whose elements lie in memory as those of its gradients, which `_product` gives, do."""
    return weight.T.contiguous().T if _turned(weight.to(dtype)) else weight


def _turned(rows: Tensor) -> bool:
    return rows.dtype == torch.float32 and len(rows) >= WIDE


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [d] of features [n, d], looked at a part at a time."""
    zero = torch.zeros(x.shape[1], device=x.device)
    mean = sum((part.float().sum(0) for part in x.split(ROWS)), zero) / len(x)
    squares = sum(((part.float() - mean).square_().sum(0) for part in x.split(ROWS)), zero)
    return mean, (squares / len(x)).sqrt()
