"""The base class of measures, which a run records in addition to its accuracy; a config lists them under `measures`.

A measure has two hooks: `Measure.watch` returns a callback for a phase that learns by gradient, and
`Measure.on_test_end` is called once, after the test. It writes its results to a CSV file in the run's folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.storage.files import write_text
from headstart.storage.plain_text import plain_cell, read_cell

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import Tensor, nn

    from headstart.data.loader import Pixels


class Measure:
    """The base class, whose hooks do nothing."""

    def watch(self, model: nn.Module, folder: Path, phase: str) -> pl.Callback | None:
        """Return a callback for a phase that is going to learn by gradient, or None.

        Args:
            folder: of the run.
        """
        return None

    def on_test_end(self, test: Pixels, logits: Callable[[Pixels], Tensor], folder: Path) -> None:
        """Called after the test on the images `test`; `logits` computes logits [n, classes] of other images."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a CSV file; none if there is no file."""
    if not path.exists():
        return []
    rows = csv.DictReader(io.StringIO(path.read_text("utf-8")))
    return [
        {name: read_cell(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as a CSV file, completely or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
