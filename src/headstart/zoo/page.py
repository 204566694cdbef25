"""The table as one HTML file that needs nothing beside it, in the look of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from headstart import __version__
from headstart.models.keras import ROWS
from headstart.report.page import Cell, template
from headstart.report.plots import Picture, Section
from headstart.zoo import tables
from headstart.zoo.plan import Machine, Plan
from headstart.zoo.rows import Column, Row, shown


def render(rows: Sequence[Row], plan: Plan, machine: Machine, picture: Path | None) -> str:
    """The whole page; every text in it is escaped, and the picture is embedded."""
    columns = shown(rows)
    failed = any(row.error for row in rows)
    sources = len({row.source for row in rows if row.source}) > 1  # one is named below the table
    heads = [
        ("model", "", False),
        ("Keras' name", "", False),
        *((column.title, column.note, True) for column in columns),
        *([("accuracies from", "", False)] if sources else []),
        *([("failed", "", False)] if failed else []),
    ]
    return template("zoo.html").render(
        title=title(rows),
        lead=tables.frontiers(rows),
        heads=heads,
        rows=[_cells(row, columns, sources, failed) for row in rows],
        captions=tables.caption(rows, plan, machine),
        remarks=tables.remarks(rows),
        sections=[] if picture is None else [_section(picture)],
        facts=_facts(machine),
    )


def title(rows: Sequence[Row]) -> str:
    """What the table is of."""
    if {row.model for row in rows} == {row.model for row in ROWS}:
        return f"The {len(ROWS)} networks of Keras Applications"
    return f"{len(rows)} network{'' if len(rows) == 1 else 's'}"


def _cells(row: Row, columns: Sequence[Column], sources: bool, failed: bool) -> list[Cell]:
    label = row.published.label if row.published else ""
    cells = [Cell(row.model, row.model), Cell(label, label)]
    for column in columns:
        value = row.known(column.name)
        cells.append(Cell(column.text(row), "" if value is None else repr(value), numeric=True))
    cells += [Cell(row.source, row.source)] if sources else []
    return cells + ([Cell(row.error, row.error)] if failed else [])


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
