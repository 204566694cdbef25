"""What the answers of one row's runs say: recall and precision of its classes, its confusions, its calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.evaluation.metrics import ECE_BINS, calibration_gaps, confidence_bins
from headstart.report.study.folds import pool_answers
from headstart.report.study.groups import Comparison, Group, Stat, stat
from headstart.report.study.read import Run
from headstart.scores import class_scores
from headstart.tracking.confusion import count_pairs

MOST_DRAWN, MANY_ROWS = 12, 60


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
    known = pool_answers(runs)
    if not known:
        return None
    n = len(runs[0].classes)
    images = np.bincount(known[0].labels, minlength=n)
    predicted = np.stack([np.bincount(one.predicted, minlength=n) for one in known])
    hits = np.stack([np.bincount(one.labels[one.right], minlength=n) for one in known])
    with np.errstate(invalid="ignore"):
        return ClassScores(images, *class_scores(images, predicted, hits))


def count_run(run: Run, classes: int) -> np.ndarray | None:
    """Count a run's test images by true (row) and predicted (column) class, int64 [classes, classes].

    None where it has no readable predictions.
    """
    answers = run.answers
    return None if answers is None else count_pairs(answers.labels, answers.predicted, classes)


def count_group(group: Group) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Sum a group's counts over its seeds; also the class names, and the runs that had none to add."""
    classes = next((run.classes for run in group.runs if run.classes), [])
    total = None
    without = []
    for run in group.runs:
        counts = count_run(run, len(classes)) if run.classes == classes else None
        if counts is None:
            without.append(run.name)
        else:
            total = counts if total is None else total + counts
    return total, classes, without


def shares(counts: np.ndarray) -> np.ndarray:
    """Rows of counts as shares of 1; NaN for a class without test images."""
    sums = counts.sum(axis=1, keepdims=True)
    return np.where(sums > 0, counts / np.maximum(sums, 1), np.nan)


def worst_pairs(rate: np.ndarray, classes: list[str], most: int = 3) -> str:
    """The classes most often taken for another, such as `8 for 1 (12 %)`; empty where none is."""
    wrong = np.nan_to_num(rate)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(place) // len(classes), int(place) % len(classes)) for place in order]
    return ", ".join(
        f"{classes[true]} for {classes[seen]} ({100 * wrong[true, seen]:.0f} %)"
        for true, seen in pairs
        if wrong[true, seen] > 0
    )


def leading(comparison: Comparison) -> list[Group]:
    """The rows that get pictures of their own: the best of each task, about twelve in all, of very many rows six."""
    tasks = comparison.tasks()
    most = MOST_DRAWN if len(comparison.groups) <= MANY_ROWS else MOST_DRAWN // 2
    return [row for rows in tasks.values() for row in rows[: max(1, most // len(tasks))]]


@dataclass(frozen=True)
class Reliability:
    """A row's test images of all seeds by confidence: counts, mean confidence and accuracy of each bin [15].

    Means are NaN in an empty bin. `error` is the expected calibration error of the pooled images; a table's ECE is
    the mean over seeds, which is never smaller.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def reliability(runs: Sequence[Run]) -> Reliability | None:
    """Pool the runs' test images; None where one has no readable predictions or gives no probabilities."""
    known = [run.answers for run in runs if run.answers is not None and run.answers.confidence is not None]
    if not known or len(known) < len(runs):
        return None
    sure = np.concatenate([one.confidence for one in known if one.confidence is not None])
    right = np.concatenate([one.right for one in known])
    bins = confidence_bins(sure)
    counts = np.bincount(bins, minlength=ECE_BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, weights=sure, minlength=ECE_BINS) / counts
        accuracy = np.bincount(bins, weights=right, minlength=ECE_BINS) / counts
    error = float(np.abs(calibration_gaps(sure, right)).sum() / len(right))
    return Reliability(counts, confidence, accuracy, error)
