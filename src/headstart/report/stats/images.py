"""Tests over test images alone: they hold for the trainings that were done, and say nothing of other seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 4000


class Bootstrap(NamedTuple):
    """A paired bootstrap of images: its two-sided p value and the 95 % interval of the mean difference."""

    p: float
    low: float
    high: float


def bootstrap(differences: np.ndarray, draws: int = DRAWS) -> Bootstrap:
    """Draw test images with replacement; always the same draws, so that a report can be made again.

    Args:
        differences: [n], each image's difference as the mean over seeds: the images are the same in every seed, so
            that an image is drawn with all of its seeds.
    """
    n = len(differences)
    # few values occur (2 seeds + 1 for right and wrong), so a draw of n images is a draw of how often each occurs
    values, counts = np.unique(differences.round(12), return_counts=True)
    drawn = np.random.default_rng(0).multinomial(n, counts / n, size=draws) @ values / n
    low, high = np.quantile(drawn, [0.025, 0.975])
    least = min((drawn <= 1e-12).sum(), (drawn >= -1e-12).sum())
    return Bootstrap(float(min(1.0, 2 * (least + 1) / (draws + 1))), float(low), float(high))


def mcnemar(alone_one: int, alone_other: int) -> float:
    """The exact McNemar test (1947): two-sided p of how many images only the one and only the other got right."""
    from scipy.special import bdtr

    changed = alone_one + alone_other
    return float(min(1.0, 2 * bdtr(min(alone_one, alone_other), changed, 0.5))) if changed else 1.0
