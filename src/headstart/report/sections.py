"""What the report's page is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    `title` heads it; with `folded` it hides behind these words.

    Attributes:
        names, ids: what the page's script knows its columns and lines by.
        about: the numbers of the rows that each line is about: it is hidden where one of them is filtered out.
        rows_of: the same of the whole table.
        facts: of each line, what its cells are made from anew for a subset of runs.
        kind: `classes` or `changed`: the page's script makes its cells anew for a subset of runs.
        mark: `study` where a filter changes no number, `seeds` where it does not change what is listed.
    """

    name: str
    heads: list[tuple[str, str, bool]]
    rows: list[list[Cell]]
    title: str = ""
    folded: str = ""
    names: Sequence[str] = ()
    ids: Sequence[int] = ()
    about: Sequence[Sequence[int]] = ()
    rows_of: Sequence[int] = ()
    facts: Sequence[Any] = ()
    kind: str = ""
    mark: str = ""


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
        kind: what the page's script makes its tables by, of all runs and of a subset; empty: as they are.
        rows: the numbers of the rows that it is about: it is hidden where one of them is filtered out, and one of
            `curves` where all are.
        tasks: the numbers of the tasks of its charts, of `cost`.
        pairs: the runs that are compared, two and two, by their numbers.
        labels: the classes that it shows.
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
    tasks: Sequence[int] = ()
    pairs: Sequence[Sequence[int]] = ()
    labels: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A heading of the page, one sentence on how to read what stands under it, findings in words, pictures, tables.

    `galleries` are of test images (`headstart.report.page.gallery`).
    """

    title: str
    caption: str
    pictures: Sequence[Picture | Plot]
    small: bool = False
    points: list[str] = field(default_factory=list)
    tables: list[Listing] = field(default_factory=list)
    galleries: list[Markup] = field(default_factory=list)


def number(value: float | None, write: Callable[[Any], str] = str) -> Cell:
    """A number's cell as people read it, `-` where it is not known."""
    return Cell("-", "", numeric=True) if value is None else Cell(write(value), repr(value), numeric=True)


def words(text: str, swatch: tuple[str, str] | None = None) -> Cell:
    """A text's cell."""
    return Cell(text, text, swatch=swatch)
