"""What a run observes besides its accuracy, named under `measures`: a study asks for what its question needs.

A measure has two occasions: `Measure.watch`, while a phase learns by gradient, and `Measure.on_test_end`, once, after
the test. What it finds is a CSV file in the run's folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.storage.files import write_text

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import Tensor, nn

    from headstart.data.loader import Pixels


class Measure:
    """Both occasions, at which a measure does nothing unless it says otherwise."""

    def watch(self, model: nn.Module, folder: Path, phase: str) -> pl.Callback | None:
        """A callback for the phase that is about to learn.

        Args:
            folder: the run's.
        """
        return None

    def on_test_end(self, test: Pixels, logits: Callable[[Pixels], Tensor], folder: Path) -> None:
        """The run has been tested on the images `test`; `logits` gives [n, classes] of other images."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as a CSV file, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
