"""What every probe does: fit a head per value and set of features, choose one on validation rows, refit if asked."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headstart.errors import UserError
from headstart.models.stages import POOLINGS

ELEMENTS = 2**24  # of the logits of all values that are looked at together


@dataclass(frozen=True)
class Targets:
    """What heads are fitted to.

    Attributes:
        labels: each row's class, int64 [n].
        classes: how many there are.
        weights: how much each row counts [n], 0 or more; None: 1.
        smoothing: the share of a row's target that is spread over all classes (Szegedy et al. 2016, section 7). A row's
            weight counts for all of it; torch's cross-entropy weighs each class's share by that class's weight.
    """

    labels: Tensor
    classes: int
    weights: Tensor | None = None
    smoothing: float = 0.0


@dataclass(frozen=True)
class ProbeFit:
    """A fitted head, and how it was chosen."""

    head: nn.Module  # features [n, d] as given to logits [n, classes]
    chosen: dict[str, Any]  # the row of `table` that it is, and its train_accuracy
    table: list[dict[str, Any]]  # per value and set of features: features, value, val_accuracy, val_nll, and facts
    seconds: float
    probabilities: bool  # whether softmax of the logits means something


class Fits(Protocol):
    """Heads fitted on the same rows, one per value."""

    @property
    def facts(self) -> Sequence[dict[str, Any]]:
        """Per value: value, and what the solve tells of it."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Logits [values, n, classes] of features [n, d]."""
        ...

    def head(self, index: int) -> nn.Module:
        """One of the heads, as a module of its own."""
        ...


class Probe:
    """What probes have in common; a probe of one's own only has to have `fit`.

    Args:
        values: what is tried on each set of features, the more cautious first: it wins ties.
        refit: fit once more on training and validation rows with the chosen value.
        layers: the network's stages that features are taken from, as Python indexes a list of them with the network's
            own pre-logits features as its last: ``-1`` those, ``-2`` the last stage, ``0`` the first.
        poolings: how a stage's map [n, c, h, w] becomes [n, c] (``avgmax`` is their mean, ``catavgmax`` both); the
            pre-logits have the network's own pooling.
    """

    probabilities = True
    by_accuracy = False  # else by nll: of few images it says more than their accuracy
    copied = True  # whether the head is a linear layer that the network can take as its own
    smooths = False  # whether it takes smoothed labels: `fit` is then given ``smoothing``

    def __init__(self, values: Sequence[Any], refit: bool, layers: Sequence[int], poolings: Sequence[str]) -> None:
        self.values, self.refit = list(values), refit
        self.layers, self.poolings = tuple(layers), tuple(poolings)
        if not self.layers or not all(isinstance(layer, int) for layer in self.layers):
            raise UserError(f"probe.layers={list(layers)}: needs whole numbers, such as [-1] or [-1, -2]")
        if not self.poolings or not set(self.poolings) <= set(POOLINGS):
            raise UserError(f"probe.poolings={list(poolings)}: needs some of {', '.join(POOLINGS)}")

    @property
    def beside(self) -> bool:
        """Whether the head cannot become the network's own, but is kept beside it."""
        return not self.copied or self.layers != (-1,)

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> Sequence[Fits]:
        """A head per value on each of several sets of features [n, d] of the same rows."""
        raise NotImplementedError

    def fit(
        self,
        train_x: Tensor,
        train_y: Tensor,
        val_x: Tensor,
        val_y: Tensor,
        classes: int,
        weights: Tensor | None = None,
        *,
        smoothing: float = 0.0,
        copies: int = 1,
        parts: Mapping[str, slice] | None = None,
        seed: int = 0,
    ) -> ProbeFit:
        """Fit every value on the training rows [n, d] and keep the one that is best on the validation rows [m, d].

        Best is the lowest nll, then accuracy, then the more cautious value: chosen so, the values of
        ``benchmarks/choices.py`` are 0.2 points better on other images than by accuracy. Without probabilities accuracy
        alone decides, for neighbours first.

        Args:
            weights: how much each training row counts [n], 0 or more; None: 1. In a refit a validation row counts as
                the training rows of its class do on average.
            copies: rows that each training image has, one for each of its views; in a refit a validation row, of which
                there is one an image, counts as that many. A linear head alone (`copied`) is given it.
            smoothing: of the labels that are fitted; validation scores are those of the labels as they are.
            parts: sets of features by name, each a range of columns; None: all columns.
            seed: of whatever the fit draws at random.
        """
        began = time.perf_counter()
        parts = parts or {"all": slice(0, train_x.shape[1])}
        self._check(len(val_y), len(parts), weights, len(train_y))
        targets = Targets(train_y, classes, weights, smoothing)
        fits = self.solve([train_x[:, part] for part in parts.values()], targets, self.values, seed)
        table: list[dict[str, Any]] = []
        for (name, part), fitted in zip(parts.items(), fits, strict=True):
            scores = _scores(fitted, val_x[:, part], val_y, classes)
            for facts, accuracy, nll in zip(fitted.facts, *scores, strict=True):
                measured = {"val_accuracy": accuracy, "val_nll": nll if self.probabilities else None}
                table.append({"features": name} | facts | measured)
        best = min(range(len(table)), key=lambda at: (*self._rank(table[at]), at)) if len(val_y) else 0
        at, index = divmod(best, len(fits[0].facts))
        part, fitted = list(parts.values())[at], fits[at]
        if self.refit:
            weights = _of_both(weights, copies, train_y, val_y, classes)
            train_x, train_y = torch.cat([train_x[:, part], val_x[:, part]]), torch.cat([train_y, val_y])
            again = Targets(train_y, classes, weights, smoothing)
            (fitted,), index = self.solve([train_x], again, [self.values[index]], seed), 0
        else:
            train_x = train_x[:, part]
        head = fitted.head(index).eval()
        chosen = table[best] | {"train_accuracy": _accuracy(head, train_x, train_y, classes)}
        whole = head if len(parts) == 1 else nn.Sequential(Columns(part.start, part.stop), head)
        return ProbeFit(whole, chosen, table, time.perf_counter() - began, self.probabilities)

    def _check(self, validated: int, parts: int, weights: Tensor | None, rows: int) -> None:
        if not validated and len(self.values) * parts > 1:
            raise UserError(
                "probe: choosing among several values needs validation images; raise data.val_fraction, or try one"
            )
        if weights is not None and not (len(weights) == rows and bool((weights >= 0).all()) and bool(weights.any())):
            raise UserError("probe: weights of training images must be 0 or more each, and not all 0")

    def _rank(self, row: Mapping[str, Any]) -> tuple[float, float]:
        nll, accuracy = row["val_nll"] if self.probabilities else 0.0, row["val_accuracy"]
        nll = float("inf") if math.isnan(nll) else nll  # a head that diverged
        return (-accuracy, nll) if self.by_accuracy else (nll, -accuracy)


def sort_values(values: Sequence[float], key: str, *, zero: bool = False) -> list[float]:
    """The different values in order; raises UserError if there are none, or one is not above 0 (``zero``: below 0)."""
    found = sorted({float(value) for value in values})
    if not found or not all((zero or value > 0) and 0 <= value < float("inf") for value in found):
        least = "numbers of 0 or more" if zero else "numbers above 0"
        raise UserError(f"probe.{key}: needs one or more {least}, got {list(values)}")
    return found


def _of_both(weights: Tensor | None, copies: int, labels: Tensor, others: Tensor, classes: int) -> Tensor | None:
    """The weights of training and validation rows together; None where all count the same."""
    if weights is None and copies == 1:
        return None
    weights = torch.ones(len(labels), device=labels.device) if weights is None else weights
    return torch.cat([weights, copies * _by_class(weights, labels, others, classes)])


def _by_class(weights: Tensor, labels: Tensor, others: Tensor, classes: int) -> Tensor:
    """The mean weight of each of the ``others``' classes; 1 where a class has no row."""
    sums = torch.zeros(classes, dtype=weights.dtype, device=weights.device).index_add_(0, labels, weights)
    counts = labels.bincount(minlength=classes)
    return torch.where(counts > 0, sums / counts.clamp_min(1), 1.0).to(weights.dtype)[others]


def _scores(fitted: Fits, x: Tensor, labels: Tensor, classes: int) -> tuple[list[float | None], list[float | None]]:
    """Accuracy and mean negative log-likelihood of every value; None without rows."""
    count = len(fitted.facts)
    if not len(labels):
        return [None] * count, [None] * count
    hits, nll = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for rows, own in _chunks(x, labels, count * classes):
        logits = fitted.logits(rows)
        hits += (logits.argmax(2) == own).double().sum(1).cpu()
        true = logits.gather(2, own.expand(count, -1)[..., None])[..., 0]
        nll += (logits.logsumexp(2) - true).double().sum(1).cpu()
    return (hits / len(labels)).tolist(), (nll / len(labels)).tolist()


def _accuracy(head: nn.Module, x: Tensor, labels: Tensor, classes: int) -> float:
    hits = 0
    with torch.no_grad():
        for rows, own in _chunks(x, labels, classes):
            hits += int((head(rows).argmax(1) == own).sum())
    return hits / len(labels)


def _chunks(x: Tensor, labels: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, ELEMENTS // max(width, x.shape[1]))
    for rows, own in zip(x.split(size), labels.split(size), strict=True):
        yield rows.float(), own


class Columns(nn.Module):
    """Some of the features: columns ``start`` to ``stop``."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]
