"""What the page's script needs of each run to draw the charts of classes, confidences and images of any subset."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from headstart.evaluation.metrics import ECE_BINS, confidence_bins
from headstart.report.charts.tables import Table
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.one_row import count_run, leading
from headstart.report.study.answers import Answers
from headstart.report.study.groups import Group
from headstart.report.study.read import Run

WHOLE_MATRIX, MOST_PAIRS = 16, 60  # classes up to which each run has its confusion; of more, its largest confusions
MOST_CLASSES = 1000


class Counts:
    """The counts of single runs: of those that charts are drawn of all, of the others what fits the page."""

    def __init__(self, table: Table, contrasts: list[Contrast]) -> None:
        self._leading = {id(row) for row in leading(table.comparison)}
        self._compared = {id(row) for one in contrasts for row in (one.pair.one, one.pair.other)}

    def of(self, group: Group, run: Run) -> dict[str, Any]:
        """A run's counts; empty where it has no readable predictions."""
        answers, n = run.answers, len(run.classes)
        if answers is None or not n:
            return {}
        drawn = id(group) in self._leading | self._compared
        found: dict[str, Any] = {}
        if n <= WHOLE_MATRIX or drawn:
            found["confusion"] = list_confusion(answers, n)
        elif n <= MOST_CLASSES:
            found["worst"] = _list_worst(run, n)
        if id(group) in self._leading and answers.confidence is not None:
            found["bins"] = count_bins(answers)
        if id(group) in self._compared:
            found["right"] = base64.b64encode(np.packbits(answers.right).tobytes()).decode("ascii")
        return found


def list_confusion(answers: Answers, classes: int) -> list[int]:
    """The confusion matrix without its zeros: for each other count, row after row, how far on it stands, and itself."""
    places, counts = np.unique(answers.labels.astype(np.int64) * classes + answers.predicted, return_counts=True)
    return [int(number) for number in np.stack([np.diff(places, prepend=0), counts], axis=1).ravel()]


def _list_worst(run: Run, classes: int) -> list[int]:
    """The largest confusions: true class, predicted class and count of each."""
    counts = count_run(run, classes)
    assert counts is not None
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), classes) for place in order if counts.flat[place]]
    return [number for true, seen in places for number in (true, seen, int(counts[true, seen]))]


def count_bins(answers: Answers) -> list[list[float]]:
    """Images, right ones and the sum of confidences in each bin of confidence."""
    assert answers.confidence is not None
    bins = confidence_bins(answers.confidence)
    images, right = (np.bincount(of, minlength=ECE_BINS).tolist() for of in (bins, bins[answers.right]))
    sums = np.bincount(bins, weights=answers.confidence, minlength=ECE_BINS)
    return [images, right, [round(float(each), 6) for each in sums]]
