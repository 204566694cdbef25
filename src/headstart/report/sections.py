"""What the report's page is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """One cell of a sortable table: its text, the value it sorts by (empty: last), and its look."""

    text: str
    value: str
    numeric: bool = False
    bold: bool = False
    swatch: str = ""


@dataclass(frozen=True)
class Listing:
    """A sortable table: `heads` are (title, explanation, whether its cells are numbers).

    `title` heads it; with `folded` it hides behind these words.
    """

    name: str
    heads: list[tuple[str, str, bool]]
    rows: list[list[Cell]]
    title: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Picture:
    """One PNG file, what it shows (for those who cannot see it), and its own caption where it needs one; a wide one
    takes all columns of a section of small ones.
    """

    path: Path
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A heading of the page, one sentence on how to read what stands under it, findings in words, pictures, tables.

    `galleries` are of test images (`headstart.report.gallery`).
    """

    title: str
    caption: str
    pictures: list[Picture]
    small: bool = False
    points: list[str] = field(default_factory=list)
    tables: list[Listing] = field(default_factory=list)
    galleries: list[Markup] = field(default_factory=list)


def number(value: float | None, text: str) -> Cell:
    """A number's cell, `-` where it is not known."""
    return Cell("-", "", numeric=True) if value is None else Cell(text, repr(value), numeric=True)


def words(text: str, swatch: str = "") -> Cell:
    """A text's cell."""
    return Cell(text, text, swatch=swatch)
