"""The table as one HTML file that needs nothing beside it, in the look of a study's report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from headstart.models.published import KERAS_TABLE
from headstart.report.page import Cell, template
from headstart.report.plots import Picture, Section
from headstart.runtime.version import __version__
from headstart.zoo import tables
from headstart.zoo.plan import Machine, Plan
from headstart.zoo.rows import Column, Row, shown

Text = Callable[[Row], str]  # what a column of words says of a network


def render(rows: Sequence[Row], plan: Plan, machine: Machine, picture: Path | None) -> str:
    """The whole page; every text in it is escaped, and the picture is embedded."""
    columns = shown(rows)
    sources = len({row.source for row in rows if row.source}) > 1  # one is named below the table
    before = _filled(rows, {"model": lambda row: row.model, "Keras' name": _label})
    after = _filled(
        rows, {"accuracies from": lambda row: row.source if sources else "", "failed": lambda row: row.error}
    )
    heads = [
        *((title, "", False) for title in before),
        *((column.title, column.note, True) for column in columns),
        *((title, "", False) for title in after),
    ]
    return template("zoo.html").render(
        title=title(rows),
        lead=tables.frontiers(rows),
        heads=heads,
        rows=[[*_texts(row, before), *_numbers(row, columns), *_texts(row, after)] for row in rows],
        captions=tables.caption(rows, plan, machine),
        remarks=tables.remarks(rows),
        sections=[] if picture is None else [_section(picture)],
        facts=_facts(machine),
    )


def title(rows: Sequence[Row]) -> str:
    """What the table is of."""
    if {row.model for row in rows} == {row.model for row in KERAS_TABLE}:
        return f"The {len(KERAS_TABLE)} networks of Keras Applications"
    return f"{len(rows)} network{'' if len(rows) == 1 else 's'}"


def _label(row: Row) -> str:
    return row.published.label if row.published else ""


def _filled(rows: Sequence[Row], texts: dict[str, Text]) -> dict[str, Text]:
    """The columns of text that have any."""
    return {title: text for title, text in texts.items() if any(text(row) for row in rows)}


def _texts(row: Row, texts: dict[str, Text]) -> list[Cell]:
    return [Cell(text(row), text(row)) for text in texts.values()]


def _numbers(row: Row, columns: Sequence[Column]) -> list[Cell]:
    values = [(column.text(row), row.known(column.name)) for column in columns]
    return [Cell(text, "" if value is None else repr(value), numeric=True) for text, value in values]


def _section(picture: Path) -> Section:
    caption = (
        "Up is more accurate, left is cheaper, on a logarithmic axis. The line is the frontier: the best accuracy to be"
        " had at each cost; a network below it is beaten by one that is cheaper and no worse."
    )
    return Section("Accuracy against cost", caption, [Picture(picture, "Published top-1 accuracy against cost")])


def _facts(machine: Machine) -> list[tuple[str, str]]:
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    found = [("generated", f"{now} by headstart {__version__}"), ("CPU", f"{machine.cpu}, threads: {machine.threads}")]
    return [*found, ("GPU", machine.gpu or "none"), ("versions", machine.versions)]
