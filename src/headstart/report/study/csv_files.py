"""Tables as CSV files: what a run wrote is read as text, what a report holds is written in full precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.storage.plain_text import plain_cell, read_cells

if TYPE_CHECKING:
    from pandas import DataFrame


def read_table(path: Path, names: Sequence[str] | None = None) -> DataFrame:
    """Read a CSV file's cells as text, empty where a line is too short; a line that is too long is left out.

    Args:
        names: the columns that are wanted; None: all.

    Raises:
        ValueError: a column is missing, or the file is no table.
        OSError: it cannot be read.
    """
    import pandas

    table = pandas.read_csv(
        path, dtype=object, na_filter=False, usecols=names, encoding_errors="replace", on_bad_lines="skip"
    )
    rows = table.to_numpy().tolist()
    cleaned = read_cells(rows)
    return table if cleaned is rows else pandas.DataFrame(cleaned, columns=table.columns, dtype=object)


def write_table(table: DataFrame, path: Path) -> None:
    """Write a table; texts that a spreadsheet would run as formulas get a ' before them."""
    safe = table.map(plain_cell).rename(columns=plain_cell)
    safe.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
