"""The scores of fitted heads on rows of features: of all values that were tried at once, or of one head."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headstart import scores

ELEMENTS = 2**24  # limit for an array of logits [values, rows, classes], or of features in float32


class Fits(Protocol):
    """Heads fitted on the same rows, one per value that is tried."""

    @property
    def facts(self) -> Sequence[dict[str, Any]]:
        """For each value: the value itself, and what the solver reports of it."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Logits [values, n, classes] of features [n, d]."""
        ...

    def head(self, index: int) -> nn.Module:
        """The head of one value, as a module of its own."""
        ...


def score_values(
    fitted: Fits, x: Tensor, labels: Tensor, classes: int
) -> tuple[list[float | None], list[float | None]]:
    """Compute accuracy and nll (mean negative log-likelihood) of each value; None without rows.

    The nll of a row is `logsumexp(z) - z[y]` of its logits z. Sums over rows are in double precision.
    """
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


def measure_accuracy(head: nn.Module, x: Tensor, labels: Tensor, classes: int) -> float:
    """The share of rows that a head classifies correctly."""
    hits = 0
    with torch.no_grad():
        for rows, own in _chunks(x, labels, classes):
            hits += int((head(rows).argmax(1) == own).sum())
    return hits / len(labels)


def measure_head(head: nn.Module, select: str, x: Tensor, labels: Tensor) -> float:
    """The score that one of `headstart.config.selection.BY_CLASS` names, of a head's logits for all rows together."""
    head = head.eval()
    with torch.no_grad():
        outputs = torch.cat([head(rows) for rows, _ in _chunks(x, labels, x.shape[1])])
    return scores.measure(select.removeprefix("val_"), outputs, labels)


def _chunks(x: Tensor, labels: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows in float32 and their labels, in chunks; neither a chunk nor its `width` outputs per row exceed ELEMENTS."""
    size = max(1, ELEMENTS // max(width, x.shape[1]))
    for rows, own in zip(x.split(size), labels.split(size), strict=True):
        yield rows.float(), own
