"""What the report's page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """One cell of a sortable table: its text, the value it sorts by (empty: last), and its look.

    `swatch` is a colour and a shape of Vega's; `href` makes the text a link.
    """

    text: str
    value: str
    numeric: bool = False
    bold: bool = False
    swatch: tuple[str, str] | None = None
    href: str = ""


@dataclass(frozen=True)
class Listing:
    """A sortable table: `heads` are (title, explanation, whether its cells are numbers).

    `title` heads it; with `folded` it hides behind these words. `names` and `ids` are what the page's script knows its
    columns and rows by.
    """

    name: str
    heads: list[tuple[str, str, bool]]
    rows: list[list[Cell]]
    title: str = ""
    folded: str = ""
    names: Sequence[str] = ()
    ids: Sequence[int] = ()


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
class Plot:
    """Charts that are drawn by the page, side by side, and stand beside it as one PNG.

    Attributes:
        name: of the PNG file, without its suffix.
        charts: Altair charts.
        alt: what they show, for those who cannot see it.
        kind: `scores`, `cost` or `curves`, whose numbers the page's script computes anew for a subset of runs.
        rows: the numbers of the rows that it is about: it is hidden where all of them are filtered out.
        cost: the column across, of `cost`.
        first: whether it is also there as a drawing where no script runs.
    """

    name: str
    charts: Sequence[Any]
    alt: str
    caption: str = ""
    wide: bool = False
    kind: str = ""
    rows: Sequence[int] = ()
    first: bool = False
    cost: str = ""


@dataclass(frozen=True)
class Section:
    """A heading of the page, one sentence on how to read what stands under it, findings in words, pictures, tables.

    `galleries` are of test images (`headstart.report.gallery`).
    """

    title: str
    caption: str
    pictures: Sequence[Picture | Plot]
    small: bool = False
    points: list[str] = field(default_factory=list)
    tables: list[Listing] = field(default_factory=list)
    galleries: list[Markup] = field(default_factory=list)


def number(value: float | None, text: str) -> Cell:
    """A number's cell, `-` where it is not known."""
    return Cell("-", "", numeric=True) if value is None else Cell(text, repr(value), numeric=True)


def words(text: str, swatch: tuple[str, str] | None = None) -> Cell:
    """A text's cell."""
    return Cell(text, text, swatch=swatch)
