"""What a trained network answers for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        image: its path as it was given, or its number among the images.
        labels: the names of the most probable classes, the first is the answer; empty if there is an error.
        probabilities: of these classes; NaN where the fitted head gives scores that are no probabilities.
        error: why the image could not be read, or None.
    """

    image: str | int
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Logits:
    """The outputs [n, classes] for successive images, and the faults of those that could not be read, by number."""

    rows: range
    values: Tensor
    faults: dict[int, str]


def find_top(logits: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The largest values of each row [n, classes] and their places; of equal values the first place comes first."""
    values, order = logits.topk(min(top + 1, logits.shape[1]))
    if (values[:, 1:] == values[:, :-1]).any():  # topk puts equal ones in any order; a sort takes ten times as long
        values, order = logits.sort(dim=1, descending=True, stable=True)
    return values[:, :top], order[:, :top]
