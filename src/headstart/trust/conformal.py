"""Sets of classes that hold the true one as often as is wanted, and a threshold below which no answer is given.

Both are chosen on a run's validation images. The sets are those of Sadinle et al. 2019 (arXiv:1609.00451, "LAC"): with
n validation images and `s = 1 - p(true class)`, a class is in the set if `1 - p <= q`, q the `ceil((n + 1) level)`-th
smallest s. New images like them are then covered with at least that probability. (MAPIE computes the same, but takes a
scikit-learn estimator; here the probabilities are an array, and the quantile is one line.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.errors import UserError


@dataclass(frozen=True)
class Withholding:
    """A threshold of the largest probability, and what share of the images it answers, with what precision."""

    threshold: float
    precision: float
    coverage: float


def choose_set_threshold(probabilities: np.ndarray, labels: np.ndarray, level: float) -> float:
    """The least probability `1 - q` of a class in a set, for probabilities [n, classes] and labels int64 [n].

    Raises:
        UserError: there are too few images for this level.
    """
    n = len(labels)
    place = math.ceil((n + 1) * level - 1e-9)
    if place > n:
        raise UserError(
            f"--sets {level:g}: needs {math.ceil(level / (1 - level) - 1e-9)} validation images, and the run has {n}: "
            "choose a lower number, or train with more (data.val_fraction)"
        )
    return float(np.sort(probabilities[np.arange(n), labels])[::-1][place - 1])


def make_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Which classes are in the sets: bool [n, classes]; a set may be empty, where no class is probable enough."""
    return probabilities >= threshold


def choose_withholding(probabilities: np.ndarray, labels: np.ndarray, precision: float) -> Withholding:
    """The threshold that answers most images with at least this precision.

    Raises:
        UserError: no threshold has it.
    """
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(-sure, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(sure[order][1:] < sure[order][:-1], True)  # equal probabilities are answered together
    reached = np.flatnonzero(last & (shares >= precision))
    if not len(reached):
        best = float(shares[last].max())
        raise UserError(
            f"--abstain {precision:g}: no threshold has this precision on the run's {len(labels)} validation images; "
            f"the best is {best:.3f}: choose at most that"
        )
    return measure_withholding(probabilities, labels, float(sure[order][reached[-1]]))


def measure_withholding(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> Withholding:
    """What a threshold does on images; the precision of no answer is NaN."""
    answered = probabilities.max(1) >= threshold
    right = probabilities.argmax(1)[answered] == labels[answered]
    return Withholding(threshold, float(right.mean()) if len(right) else math.nan, float(answered.mean()))
