"""Confusion matrices of a study's rows, from the runs' predictions on the test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.report.study.groups import Comparison, Group
from headstart.report.study.read import Run
from headstart.tracking.confusion import count_pairs

if TYPE_CHECKING:
    import numpy as np

MOST_DRAWN, MANY_ROWS = 12, 60


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
    import numpy as np

    sums = counts.sum(axis=1, keepdims=True)
    return np.where(sums > 0, counts / np.maximum(sums, 1), np.nan)


def worst_pairs(rate: np.ndarray, classes: list[str], most: int = 3) -> str:
    """The classes most often taken for another, such as `8 for 1 (12 %)`; empty where none is."""
    import numpy as np

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
