"""metrics.csv: one row for each epoch of a run, the record from which every tracker is filled."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.storage.files import append_text, write_text
from headstart.storage.records import make_damage_error

NUMBERS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")
COLUMNS = ("phase", "epoch", "step", *NUMBERS)
# What is drawn over the epochs of all phases, so that strategies with different phases share their panels.
SHARED = {"lr": "train/lr", "seconds": "train/seconds"} | {
    column: column.replace("_", "/") for column in NUMBERS if "_" in column
}


class MetricsFile:
    """metrics.csv: one row for each epoch, written at once; an epoch repeated after a resume replaces its row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a last line without a line end was cut by a crash
            for row in csv.DictReader(io.StringIO(whole)):
                self._rows[row["phase"], int(row["epoch"])] = {column: row.get(column) for column in COLUMNS}
        except (ValueError, TypeError, LookupError, csv.Error) as error:
            raise make_damage_error(path, error) from error
        if whole != text or not whole or not whole.startswith(",".join(COLUMNS)):
            self._rewrite()

    def add(self, row: dict[str, Any]) -> int:
        """Append `row`, or replace the row with the same phase and epoch; return its number, counted from 1."""
        place = row["phase"], int(row["epoch"])
        known = place in self._rows
        self._rows[place] = row
        if known:
            self._rewrite()
        else:
            append_text(self._path, _format_rows([row]))
        return self.find(*place)

    def find(self, phase: str, epoch: int) -> int:
        """The number of an epoch among those of all phases, counted from 1; 0 if there is no such epoch."""
        places = list(self._rows)
        return places.index((phase, epoch)) + 1 if (phase, epoch) in places else 0

    def read_points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Each epoch's number and what is drawn of it, of all rows that are there."""
        for number, row in enumerate(self._rows.values(), start=1):
            known = {name: float(row[name]) for name in NUMBERS if row.get(name) not in (None, "")}
            yield number, make_point(str(row["phase"]), int(row["epoch"]), int(row["step"]), known)

    @property
    def phases(self) -> list[str]:
        """The phases that have rows, in their order."""
        return list(dict.fromkeys(phase for phase, _ in self._rows))

    def _rewrite(self) -> None:
        """Write the whole file again."""
        write_text(self._path, _format_rows([dict(zip(COLUMNS, COLUMNS, strict=True)), *self._rows.values()]))


def make_point(phase: str, epoch: int, step: int, values: Mapping[str, float]) -> dict[str, float]:
    """Name the numbers of an epoch twice: `<phase>/...`, and `train/...` and `val/...`, which all phases share."""
    own = {f"{phase}/{column}": value for column, value in values.items()}
    shared = {SHARED[column]: value for column, value in values.items()}
    return own | shared | {f"{phase}/epoch": epoch, f"{phase}/step": step}


def _format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as the text of metrics.csv."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue()
