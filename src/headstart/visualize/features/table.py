"""What was measured of the pictures, in a line and in a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from headstart.storage.files import write_text
from headstart.storage.plain_text import plain_row

if TYPE_CHECKING:
    from headstart.visualize.features.rows import Row
    from headstart.visualize.pool import Pool


@dataclass(frozen=True)
class Shown:
    """A unit's picture, and what it was compared with; the fields are the columns of the table.

    Attributes:
        layer: name of the layer, `classes` for a class.
        file: name of the picture.
        score: how strongly the picture excites the unit, read back from the file.
        best: how strongly the best real image does; None: there are none.
        image: the name of this image.
        compared: how many images there are.
        prediction: for a class, what the network answers to the file.
        probability: of this answer.
    """

    layer: str
    unit: str
    file: str
    score: float
    best: float | None = None
    image: str = ""
    compared: int = 0
    prediction: str = ""
    probability: float | None = None

    def describe(self) -> str:
        """The score, beside that of the best image."""
        if self.prediction:
            return f"seen as {self.prediction}" + (f" {self.probability:.0%}" if self.probability else "")
        return f"{self.score:.3g}" if self.best is None else f"{self.score:.3g}; best image {self.best:.3g}"


def summarise(row: Row, shown: Sequence[Shown], pool: Pool | None) -> str:
    """One line on a row: how many pictures excite their unit more than any real image."""
    if row.classes:
        right = sum(each.prediction == each.unit for each in shown)
        return f"{row.title}: the network answers {right} of {len(shown)} pictures with their class"
    if pool is None:
        return f"{row.title}: {len(shown)} pictures"
    pairs = [(each.score, each.best) for each in shown if each.best is not None]
    above = sum(score > best for score, best in pairs)
    ratios = [score / best for score, best in pairs if best > 0]
    times = f", {median(ratios):.1f} times the best image (median)" if ratios else ""
    return f"{row.title}: {above} of {len(shown)} pictures above each of {pool.describe()}{times}"


def write_table(shown: Sequence[Sequence[Shown]], path: Path) -> Path:
    """Write what was measured to a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Shown.__dataclass_fields__)
    table.writerows(plain_row(vars(each).values()) for row in shown for each in row)
    write_text(path, text.getvalue())
    return path
