"""A run's answers: for each test image its class, the class that was predicted, and how sure the network was."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.storage.plain_text import read_cells

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Answers:
    """One predictions.csv in its own order: int32 `labels` and `predicted` [n], float64 `confidence` [n].

    `confidence` is None where a probe gives no probabilities; `images` is a digest of the images' names and
    labels, the same for two runs that were tested on the same images in the same order.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray | None
    images: str

    @cached_property
    def right(self) -> np.ndarray:
        """Which images got the right class, bool [n]."""
        return self.labels == self.predicted


def join_answers(answers: Sequence[Answers]) -> Answers:
    """The answers on several test sets as one."""
    import numpy as np

    if len(answers) == 1:
        return answers[0]
    sure = [one.confidence for one in answers if one.confidence is not None]
    return Answers(
        np.concatenate([one.labels for one in answers]),
        np.concatenate([one.predicted for one in answers]),
        np.concatenate(sure) if len(sure) == len(answers) else None,
        " ".join(one.images for one in answers),
    )


def columns(path: Path, *names: str) -> list[tuple[str, ...]]:
    """Some columns of a CSV file; a ValueError or OSError says why they cannot be read."""
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        reader = csv.reader(lines)
        heads = next(reader, [])
        places = [heads.index(name) for name in names]
        most = max(places)
        rows = read_cells([row for row in reader if len(row) > most])
    return [tuple(row[place] for row in rows) for place in places]


def read_answers(path: Path, classes: int, n_test: float | None) -> Answers | None:
    """Read predictions.csv; None where it is missing, damaged, incomplete, or names classes that do not exist."""
    import numpy as np

    try:
        names, labels, predicted, sure = columns(path, "name", "label", "predicted", "confidence")
        pairs = np.array([labels, predicted], dtype=np.int32)
        confidence = np.array([text or "nan" for text in sure], dtype=np.float64)
    except (ValueError, OverflowError, OSError, csv.Error):
        return None
    if pairs.size == 0 or pairs.min() < 0 or pairs.max() >= classes or n_test not in (None, len(names)):
        return None
    digest = hashlib.blake2b("\0".join((*names, *labels)).encode(errors="replace"), digest_size=16).hexdigest()
    return Answers(pairs[0], pairs[1], None if np.isnan(confidence).any() else confidence, digest)
