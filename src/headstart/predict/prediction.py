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
