"""The table as one HTML file that needs no other file, in the style of a study's report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from headstart.models.published import KERAS_TABLE
from headstart.report.plots import Picture, Section
from headstart.report.sections import Cell
from headstart.report.templates import template
from headstart.runtime.version import __version__
from headstart.zoo import tables
from headstart.zoo.plan import Machine, Plan
from headstart.zoo.rows import Column, Row, known_columns

Text = Callable[[Row], str]  # the text of a column for a network


def render(rows: Sequence[Row], plan: Plan, machine: Machine, picture: Path | None) -> str:
    """Render the page; all text is escaped, and the picture is embedded."""
    columns = known_columns(rows)
    sources = len({row.source for row in rows if row.source}) > 1  # a single source is named below the table
    before = _keep_filled(rows, {"model": lambda row: row.model, "Keras' name": _keras_label})
    after = _keep_filled(
        rows,
        {
            "weights": lambda row: row.weights,
            "on this machine": lambda row: row.here,
            "accuracies from": lambda row: row.source if sources else "",
            "failed": lambda row: row.error,
        },
    )
    heads = [
        *((title, "", False) for title in before),
        *((column.title, column.note, True) for column in columns),
        *((title, "", False) for title in after),
    ]
    return template("zoo.html").render(
        title=make_title(rows),
        lead=tables.describe_frontiers(rows),
        heads=heads,
        rows=[
            [*_make_text_cells(row, before), *_make_number_cells(row, columns), *_make_text_cells(row, after)]
            for row in rows
        ],
        captions=tables.make_caption(rows, plan, machine),
        remarks=tables.make_remarks(rows),
        sections=[] if picture is None else [_make_section(picture)],
        facts=_list_facts(machine),
    )


def make_title(rows: Sequence[Row]) -> str:
    """Make the title: which networks the table shows."""
    if {row.model for row in rows} == {row.model for row in KERAS_TABLE}:
        return f"The {len(KERAS_TABLE)} networks of Keras Applications"
    return f"{len(rows)} network{'' if len(rows) == 1 else 's'}"


def _keras_label(row: Row) -> str:
    return row.published.label if row.published else ""


def _keep_filled(rows: Sequence[Row], texts: dict[str, Text]) -> dict[str, Text]:
    """Leave out columns of text without any text."""
    return {title: text for title, text in texts.items() if any(text(row) for row in rows)}


def _make_text_cells(row: Row, texts: dict[str, Text]) -> list[Cell]:
    return [Cell(text(row), text(row)) for text in texts.values()]


def _make_number_cells(row: Row, columns: Sequence[Column]) -> list[Cell]:
    values = [(column.text(row), row.value(column.name)) for column in columns]
    return [Cell(text, "" if value is None else repr(value), numeric=True) for text, value in values]


def _make_section(picture: Path) -> Section:
    caption = (
        "Networks at the top are more accurate, networks at the left are cheaper; the axis of cost is logarithmic. The"
        " line is the frontier, the best accuracy at each cost: for each network below it there is another one that is"
        " cheaper and at least as accurate."
    )
    return Section("Accuracy against cost", caption, [Picture(picture, "Published top-1 accuracy against cost")])


def _list_facts(machine: Machine) -> list[tuple[str, str]]:
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    found = [("generated", f"{now} by headstart {__version__}"), ("CPU", f"{machine.cpu}, threads: {machine.threads}")]
    return [*found, ("GPU", machine.gpu or "none"), ("versions", machine.versions)]
