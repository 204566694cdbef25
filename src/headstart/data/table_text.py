"""A table as text: its separator, its header and its cells."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.filenames import escape_name, list_names
from headstart.errors import UserError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
END = "\x1a"  # a row of its own after the last one: if it is not found there, a quote is open


@dataclass(frozen=True)
class ColumnNames:
    """The names of a table's columns, as the config gives them; `split` may be `auto`."""

    image: str = "path"
    label: str = "label"
    split: str | None = "auto"
    group: str | None = None


@dataclass(frozen=True)
class Table:
    """A table as text, without blanks around its cells; `lines` are the rows' numbers in the file."""

    path: Path
    separator: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def where(self, row: int) -> str:
        return f"{self.path}, line {self.lines[row]}"

    def cells(self, column: int) -> list[str]:
        return [row[column] if column < len(row) else "" for row in self.rows]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a mark at its start, or of UTF-16 with one (Excel's Unicode text)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}: there is a letter that is not in UTF-8; save the table in UTF-8 (Excel: CSV UTF-8)"
        ) from error


def parse_table(path: Path, text: str, names: ColumnNames) -> Table:
    """Split a text into cells: the separator is the one with which line 1 contains the columns that are needed.

    `csv.Sniffer` is not used: it guesses from how often characters occur, and takes blanks or letters for separators.
    """
    try:
        found = {separator: _split_cells(text, separator, only_header=True) for separator in SEPARATORS}
        headers = {separator: rows[0][1] if rows else [] for separator, rows in found.items()}
        fitting = [separator for separator, header in headers.items() if {names.image, names.label} <= {*header}]
        if not fitting:
            widest = max(headers, key=lambda separator: len(headers[separator]))
            raise _refuse_header(path, [cells for _, cells in _split_cells(text, widest)], names)
        header, (_, *rows) = headers[fitting[0]], _split_cells(text, fitting[0])
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a CSV file: {error}") from error
    table = Table(path, fitting[0], header, [row for _, row in rows], [line for line, _ in rows])
    if table.rows.pop() != [END]:
        begin = table.lines[-2] + 1 if len(table.lines) > 1 else 2
        raise UserError(f'{path}, line {begin}: a quote (") is opened, and never closed')
    for row, cells in enumerate(table.rows):
        if any(cells[len(header) :]):
            raise UserError(
                f"{table.where(row)}: {len(cells)} cells, but line 1 has {len(header)}; put a cell that contains the "
                f'separator in quotes ("…")'
            )
    return table


def _split_cells(text: str, separator: str, only_header: bool = False) -> list[tuple[int, list[str]]]:
    """The number of each row's line and its cells, without blank rows; the last row is `END`."""
    lines = io.StringIO(f"{text}\n{END}\n", newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    filled = ((line, cells) for line, cells in rows if any(cells))
    return [next(filled)] if only_header else list(filled)


def _refuse_header(path: Path, rows: Sequence[Sequence[str]], names: ColumnNames) -> UserError:
    """Say which column is missing, and what to type; of two columns that are left, the images are the more diverse."""
    header = rows[0]
    missing = {key: getattr(names, key) for key in ("image", "label") if getattr(names, key) not in header}
    columns = " and ".join(f"no column '{name}'" for name in missing.values())
    free = [place for place, name in enumerate(header) if name not in (names.image, names.label)]
    free.sort(key=lambda place: -len({row[place] for row in rows if place < len(row)}))
    guess = {key: header[place] for key, place in zip(missing, free, strict=False)} if len(free) == len(missing) else {}
    guess |= {key: other for key, name in missing.items() for other in header if other.lower() == name.lower()}
    keys = " ".join(show_key(key, guess.get(key, "COLUMN")) for key in missing)
    found = "nothing" if header == [END] else list_names(header, 20)
    advice = f"name the column with {keys}"
    if any(os.path.isfile(path.parent / name) for name in header):  # noqa: PTH113 Path.is_file raises on a long name
        advice = f"an image is no column: add a first line with names, such as {names.image},{names.label}"
    return UserError(f"{path} has {columns} in line 1 (found: {found}); {advice}")


def show_key(key: str, text: str) -> str:
    """What to type on the command line to give `text` to a key of the source, in quotes where a shell needs them."""
    plain = re.fullmatch(r"[\w./+-]+", text)
    return f"data.source.{key}={text}" if plain else f"'data.source.{key}=\"{escape_name(text)}\"'"


def find_column(table: Table, name: str, key: str) -> int:
    """The place of a column; UserError if there is none, or more than one."""
    count = table.header.count(name)
    if count > 1:
        raise UserError(f"{table.path}: line 1 names the column '{name}' {count} times; rename all but one")
    if not count:
        raise UserError(
            f"{key}={name}: {table.path} has no column '{name}' in line 1 (found: {list_names(table.header, 20)})"
        )
    return table.header.index(name)
