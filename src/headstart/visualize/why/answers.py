"""What a run answered on its test images, read from predictions.csv, and which of these images are worth a look."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.storage.plain_text import read_cell
from headstart.storage.records import make_damage_error

NAME = "predictions.csv"


@dataclass(frozen=True)
class Answers:
    """For each test image: its name, class and predicted class (int64 [n]), and the probability of the latter.

    `confidence` [n] is NaN where the run's head gives no probabilities.
    """

    names: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which images got the right class, bool [n]."""
        return self.labels == self.predicted

    def sort_by_confidence(self, chosen: np.ndarray) -> np.ndarray:
        """The rows where `chosen` [n] is true, the most confident answers first; without confidences in their order."""
        rows = np.flatnonzero(chosen)
        return rows[np.argsort(-np.nan_to_num(self.confidence[rows]), kind="stable")]

    def find_mistakes(self, most: int) -> np.ndarray:
        """The rows of the most confident wrong answers."""
        return self.sort_by_confidence(~self.right)[:most]

    def find_right(self, most: int) -> np.ndarray:
        """The rows of the most confident right answers of each class, then the next ones, in the order of classes."""
        rows = self.sort_by_confidence(self.right)
        ranks = np.zeros(len(rows), np.int64)  # among the answers of the same class
        for label in set(self.labels[rows].tolist()):
            of_class = self.labels[rows] == label
            ranks[of_class] = np.arange(of_class.sum())
        return rows[np.lexsort((self.labels[rows], ranks))][:most]


def find_changed(first: Answers, second: Answers, most: int) -> np.ndarray:
    """The rows that one run got right and the other wrong, most confident mistakes first; then those both got wrong."""
    wrong = np.where(first.right, second.confidence, first.confidence)
    order = np.argsort(-np.nan_to_num(wrong), kind="stable")
    changed, both = first.right != second.right, ~first.right & ~second.right
    return np.concatenate([order[changed[order]], order[both[order]], order[first.right[order] & second.right[order]]])[
        :most
    ]


def read_answers(folder: Path) -> Answers:
    """Read the answers of the run in this folder.

    Raises:
        UserError: its predictions.csv is missing or damaged.
    """
    path = folder / NAME
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            rows = list(csv.DictReader(lines))
        return Answers(
            [read_cell(row["name"]) for row in rows],
            np.array([int(row["label"]) for row in rows], np.int64),
            np.array([int(row["predicted"]) for row in rows], np.int64),
            np.array([float(row["confidence"] or "nan") for row in rows]),
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise make_damage_error(path, error) from error
