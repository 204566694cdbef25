"""Text that a terminal, a spreadsheet or a browser shows and does not act on, whoever wrote it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Control characters (a terminal obeys them), lone surrogates, and what turns the direction of text round.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def escape_controls(text: str) -> str:
    r"""Return `text` with control characters as visible escapes such as `\x1b`; tabs and line ends stay."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def escape_all(value: Any) -> Any:
    """Return nested containers with `escape_controls` applied to every text, names of keys too."""
    if isinstance(value, Mapping):
        return {escape_all(key): escape_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_all(item) for item in value]
    return escape_controls(value) if isinstance(value, str) else value


def plain_cell(value: Any) -> Any:
    """Return a cell of a CSV file; a text that a spreadsheet would run as a formula gets a ' before it.

    Numbers stay numbers, also as text (`-2`). `read_cell` takes the ' off again.
    """
    if not isinstance(value, str):
        return value
    text = escape_controls(value)
    return f"'{text}" if _looks_like_formula(text) else text


def read_cell(text: str) -> str:
    """Return the text of which `plain_cell` made a cell, with its control characters as visible escapes."""
    return text[1:] if text.startswith("'") and _looks_like_formula(text) else text


def read_cells(rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Return rows of cells, each as `read_cell` and `escape_controls` give it; most files hold nothing to change."""
    whole = "".join(cell for row in rows for cell in row)
    if "'" not in whole and CONTROLS.search(whole) is None:
        return rows
    return [[read_cell(escape_controls(cell)) for cell in row] for row in rows]


def _looks_like_formula(text: str) -> bool:
    """Whether a text without the ' at its start is a formula; so one that has them gets one more, and is told apart."""
    bare = text.lstrip("'")
    return FORMULA.match(bare) is not None and NUMBER.fullmatch(bare.strip()) is None


def plain_row(row: Iterable[Any]) -> list[Any]:
    """Return the cells of one line of a CSV file, each as `plain_cell` does."""
    return [plain_cell(value) for value in row]
