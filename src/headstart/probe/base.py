"""The base of all probes: fit a head per value and set of features, choose one by validation, refit it if asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.config.selection import LOSS, rank_scores
from headstart.errors import UserError
from headstart.models.stages import POOLINGS
from headstart.probe.scoring import Fits, measure_accuracy, measure_head, score_values


@dataclass(frozen=True)
class Targets:
    """The targets that heads are fitted to.

    Attributes:
        labels: class of each row, int64 [n].
        classes: number of classes K.
        weights: how much each row counts [n], 0 or more; None means 1 each.
        smoothing: s in the target `(1 - s) onehot + s / K` (Szegedy et al. 2016, section 7). A row's weight
            multiplies its whole loss. (In torch's cross-entropy each class's share has the weight of that class.)
    """

    labels: Tensor
    classes: int
    weights: Tensor | None = None
    smoothing: float = 0.0


@dataclass(frozen=True)
class ProbeFit:
    """A fitted head, and how it was chosen.

    Attributes:
        head: turns all features as given [n, d] into logits [n, classes]; it selects its own columns.
        chosen: the head's row of `table`, with its train_accuracy.
        table: a row per value and set of features: features, value, val_accuracy, val_nll, and what the solver reports.
        probabilities: whether the softmax of the logits gives probabilities.
        scale: what the head's outputs are multiplied by to be logits; 1 if they are.
    """

    head: nn.Module
    chosen: dict[str, Any]
    table: list[dict[str, Any]]
    probabilities: bool
    scale: float = 1.0


class Columns(nn.Module):
    """Some of the features: columns `start` to `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


class Probe:
    """The base class of the probes of this package; a probe of another kind only needs a method `fit`.

    Args:
        values: the values to try on each set of features, the most cautious first: of equals the first is chosen.
        refit: whether to fit once more, on training and validation rows, with the chosen value.
        layers: the stages of the network that features are taken from. They are indices into the list of its stages, to
            which its pre-logits features are appended: `-1` these, `-2` the last stage, `0` the first.
        poolings: how a stage's map [n, c, h, w] becomes a row per image: `avg`, `max`, `avgmax` (their mean) or
            `catavgmax` (both, [n, 2c]). The pre-logits features have the network's own pooling.
    """

    probabilities = True
    select = LOSS  # the rule by which a value is chosen; on few images nll is the better measure (`fit`)
    is_linear = True  # whether the head is a linear layer, which can replace the network's own
    smooths = False  # whether the probe takes smoothed labels: then `fit` is given `smoothing`

    def __init__(self, values: Sequence[Any], refit: bool, layers: Sequence[int], poolings: Sequence[str]) -> None:
        self.values, self.refit = list(values), refit
        self.layers, self.poolings = tuple(layers), tuple(poolings)
        if not self.layers or not all(isinstance(layer, int) for layer in self.layers):
            raise UserError(f"probe.layers={list(layers)}: needs whole numbers, such as [-1] or [-1, -2]")
        if not self.poolings or not set(self.poolings) <= set(POOLINGS):
            raise UserError(f"probe.poolings={list(poolings)}: needs some of {', '.join(POOLINGS)}")

    @property
    def is_separate(self) -> bool:
        """Whether the head cannot replace the network's own, and is kept in a file of its own."""
        return not self.is_linear or self.layers != (-1,)

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> Sequence[Fits]:
        """Fit a head for each value on each of several sets of features [n, d] of the same rows."""
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
        select: str | None = None,
    ) -> ProbeFit:
        """Fit every value on the training rows [n, d] and keep the one that is best on the validation rows [m, d].

        The best has the lowest nll; of equals, the higher accuracy, then the more cautious value. In
        `benchmarks/choices.py` this gives 0.2 points more accuracy on other images than the choice by accuracy. Nearest
        neighbours are chosen by accuracy, then nll; a probe without probabilities by accuracy alone.

        Args:
            weights: how much each training row counts [n], 0 or more; None means 1 each. In a refit a validation row
                counts as much as the mean training row of its class.
            copies: rows per training image (views); in a refit a validation row counts as that many. For linear heads.
            smoothing: of the labels that are fitted. Validation scores are computed with the labels as they are.
            parts: sets of features by name, each a range of columns; None means one set of all columns.
            seed: of what the fit draws at random.
            select: one of `headstart.config.selection.BY_CLASS`, of equals the lowest nll; None means as above.
        """
        parts = parts or {"all": slice(0, train_x.shape[1])}
        self._check(len(val_y), len(parts), weights, len(train_y), select)
        targets = Targets(train_y, classes, weights, smoothing)
        fits = self.solve([train_x[:, part] for part in parts.values()], targets, self.values, seed)
        table = self._tabulate(parts, fits, val_x, val_y, classes, select)
        best = self._choose(table, select) if len(val_y) else 0  # of equals the first, the most cautious
        at, index = divmod(best, len(fits[0].facts))
        part, fitted = list(parts.values())[at], fits[at]
        scale = self.find_scale(fitted.head(index), val_x[:, part], val_y)
        if self.refit:
            weights = _join_weights(weights, copies, train_y, val_y, classes)
            train_x, train_y = torch.cat([train_x[:, part], val_x[:, part]]), torch.cat([train_y, val_y])
            again = Targets(train_y, classes, weights, smoothing)
            (fitted,), index = self.solve([train_x], again, [self.values[index]], seed), 0
        else:
            train_x = train_x[:, part]
        head = fitted.head(index).eval()
        chosen = table[best] | {"train_accuracy": measure_accuracy(head, train_x, train_y, classes)}
        head = head if len(parts) == 1 else nn.Sequential(Columns(part.start, part.stop), head)
        return ProbeFit(head, chosen, table, self.probabilities, scale)

    def _choose(self, table: Sequence[Mapping[str, Any]], select: str | None) -> int:
        """The row of the best value, of equals the first."""
        rule = select or self.select
        ranks = [rank_scores(rule, row["val_accuracy"], row["val_nll"] or 0.0, row.get(rule)) for row in table]
        return ranks.index(max(ranks))

    def _tabulate(
        self,
        parts: Mapping[str, slice],
        fits: Sequence[Fits],
        val_x: Tensor,
        val_y: Tensor,
        classes: int,
        select: str | None,
    ) -> list[dict[str, Any]]:
        """The validation scores of every value on every set of features, as a row each."""
        table: list[dict[str, Any]] = []
        for (name, part), fitted in zip(parts.items(), fits, strict=True):
            scores = score_values(fitted, val_x[:, part], val_y, classes)
            for index, (facts, accuracy, nll) in enumerate(zip(fitted.facts, *scores, strict=True)):
                row = {"features": name, **facts, "val_accuracy": accuracy}
                if select is not None and len(val_y):
                    row[select] = measure_head(fitted.head(index), select, val_x[:, part], val_y)
                table.append(row | {"val_nll": nll if self.probabilities else None})
        return table

    def _check(self, validated: int, parts: int, weights: Tensor | None, rows: int, select: str | None) -> None:
        """Raise UserError if there are no images or probabilities to choose by, or if rows' weights are not valid."""
        if select == "val_auroc" and not self.probabilities:
            raise UserError(
                f"select={select}: needs probabilities, which {type(self).__name__} does not give; use select=val_f1 "
                "or head=logistic"
            )
        if not validated and len(self.values) * parts > 1:
            raise UserError(
                "probe: choosing among several values needs validation images; raise data.val_fraction, or try one"
            )
        if weights is not None and not (len(weights) == rows and bool((weights >= 0).all()) and bool(weights.any())):
            raise UserError("probe: weights of training images must be 0 or more each, and not all 0")

    def find_scale(self, head: nn.Module, x: Tensor, labels: Tensor) -> float:
        """Find the factor that turns the head's scores of validation rows into logits; 1: they are logits."""
        return 1.0


def sort_values(values: Sequence[float], key: str, *, zero: bool = False) -> list[float]:
    """The values in ascending order, each once.

    Raises:
        UserError: there are none, or one is not finite or not above 0 (with `zero`: is below 0).
    """
    found = sorted({float(value) for value in values})
    if not found or not all((zero or value > 0) and 0 <= value < float("inf") for value in found):
        least = "numbers of 0 or more" if zero else "numbers above 0"
        raise UserError(f"probe.{key}: needs one or more {least}, got {list(values)}")
    return found


def _join_weights(weights: Tensor | None, copies: int, labels: Tensor, others: Tensor, classes: int) -> Tensor | None:
    """Join the weights of training and validation rows, for a refit; None if all rows count the same."""
    if weights is None and copies == 1:
        return None
    weights = torch.ones(len(labels), device=labels.device) if weights is None else weights
    return torch.cat([weights, copies * _mean_weights(weights, labels, others, classes)])


def _mean_weights(weights: Tensor, labels: Tensor, others: Tensor, classes: int) -> Tensor:
    """For each label of `others` the mean weight of the rows of this class; 1 for a class without rows."""
    sums = torch.zeros(classes, dtype=weights.dtype, device=weights.device).index_add_(0, labels, weights)
    counts = labels.bincount(minlength=classes)
    return torch.where(counts > 0, sums / counts.clamp_min(1), 1.0).to(weights.dtype)[others]
