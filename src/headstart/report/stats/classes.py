"""Recall, precision and F1 class by class, and the differences in recall between two rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.report.stats.paired import Pair
from headstart.report.study.folds import pool_answers
from headstart.report.study.groups import Stat, stat
from headstart.report.study.read import Run
from headstart.scores import class_scores

if TYPE_CHECKING:
    import numpy as np

ALL_SHOWN = 24


@dataclass(frozen=True)
class ClassScores:
    """Recall, precision and F1 of each class by seed, float64 [seeds, classes], NaN where one is not defined.

    `images` are those of each class in the test set, int64 [classes].
    """

    images: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray

    def over_seeds(self, label: int) -> list[Stat | None]:
        """Recall, precision and F1 of one class over the seeds; None where one is not defined in every seed."""
        return [
            stat([None if math.isnan(value) else value for value in found[:, label].tolist()])
            for found in (self.recall, self.precision, self.f1)
        ]


def score_classes(runs: Sequence[Run]) -> ClassScores | None:
    """Each class's scores by seed; None where a run has no readable predictions or the seeds differ in their test
    images. The folds of a seed are one test set.
    """
    import numpy as np

    known = pool_answers(runs)
    if not known:
        return None
    n = len(runs[0].classes)
    images = np.bincount(known[0].labels, minlength=n)
    predicted = np.stack([np.bincount(one.predicted, minlength=n) for one in known])
    hits = np.stack([np.bincount(one.labels[one.right], minlength=n) for one in known])
    with np.errstate(invalid="ignore"):
        return ClassScores(images, *class_scores(images, predicted, hits))


@dataclass(frozen=True)
class ClassChange:
    """A class's recall in two rows over their common seeds, and its paired difference; shares of 1."""

    name: str
    label: int
    images: int
    one: float
    other: float
    difference: Stat


def changes(pair: Pair) -> list[ClassChange]:
    """Each class that has test images, in label order; empty where predictions cannot be read."""
    sides = [score_classes([runs[side] for runs in pair.runs]) for side in (0, 1)] if pair.runs else [None]
    known = [side for side in sides if side is not None]
    if len(known) < 2:
        return []
    images, one, other = known[0].images, known[0].recall, known[1].recall
    found = []
    for label, name in enumerate(pair.one.runs[0].classes):
        difference = stat((one[:, label] - other[:, label]).tolist())
        if images[label] and difference is not None:
            means = float(one[:, label].mean()), float(other[:, label].mean())
            found.append(ClassChange(name, label, int(images[label]), *means, difference))
    return found


def most_changed(found: list[ClassChange], most: int = ALL_SHOWN) -> list[ClassChange]:
    """The classes by difference, the largest gain first; of many the half with the largest gains and losses."""
    ordered = sorted(found, key=lambda change: (-change.difference.mean, change.label))
    return ordered if len(ordered) <= most else ordered[: most // 2] + ordered[-(most // 2) :]
