"""Two networks on the same images: the difference of their accuracies, and its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Difference:
    """An accuracy, by how much it differs from that of the trained network, and half of the 95 % interval of this."""

    accuracy: float
    change: float
    half: float

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.change) > self.half


def compare(right: np.ndarray, trained: np.ndarray) -> Difference:
    """Compare two networks on the same images; the interval is that of Agresti and Min (2005) for matched pairs.

    Args:
        right, trained: which images each gets right, bool [n].
    """
    n = len(right)
    won, lost = int((right & ~trained).sum()), int((trained & ~right).sum())
    # half an image more in each of the four cells: so the interval holds for few images and differences of 0 as well
    mean = (won - lost) / (n + 2)
    variance = ((won + lost + 1) / (n + 2) - mean**2) / (n + 2)
    return Difference(float(right.mean()), (won - lost) / n, 1.96 * variance**0.5)
