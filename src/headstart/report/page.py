"""Render the report page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from headstart.report.columns import Column, duration, order_columns
from headstart.report.decision import decide
from headstart.report.facts import caveats, hardware, not_counted, sizes, versions
from headstart.report.groups import Comparison, Group, plain
from headstart.report.sections import Cell, Section
from headstart.report.style import Palette
from headstart.report.table import best_rows, headings, names
from headstart.report.templates import template

if TYPE_CHECKING:
    from headstart.report.contents import Findings


# Title, explanation, whether its cells are numbers.
RUN_HEADS = [
    ("folder", "", False),
    ("row", "", False),
    ("seed", "", True),
    ("score", "The number that the study is compared by.", True),
    ("time", "", True),
    ("W&B id", "", False),
]


def render(findings: Findings, sections: Sequence[Section]) -> str:
    """The whole page; every text in it is escaped, and pictures are embedded."""
    comparison = findings.comparison
    return template("template.html").render(
        study=comparison.study.name,
        metric=comparison.metric,
        shared=list(headings(comparison).values()),
        decision=decide(comparison, findings.families),
        caveats=caveats(comparison),
        same=same_for_all(comparison),
        not_counted=not_counted(comparison.study),
        heads=_heads(comparison),
        rows=rows(comparison),
        sections=sections,
        run_heads=RUN_HEADS,
        runs=run_rows(comparison),
        skipped=comparison.study.skipped,
        facts=facts(comparison),
    )


def _heads(comparison: Comparison) -> list[tuple[str, str, bool]]:
    named = [(heading, "", False) for heading in names(comparison, comparison.groups[0])]
    notes = [(column.title, column.note, True) for column in telling(comparison)]
    return [*named, ("seeds", "Completed runs of this row, one per seed (and fold).", True), *notes]


def rows(comparison: Comparison) -> list[list[Cell]]:
    """The cells of the main table."""
    palette = Palette(comparison.groups)
    best = best_rows(comparison)
    columns = telling(comparison)
    made = []
    for group in comparison.groups:
        cells = [
            Cell(text, text, swatch=palette.colour(group) if heading == "strategy" else "")
            for heading, text in names(comparison, group).items()
        ]
        cells.append(Cell(str(len(group.runs)), str(len(group.runs)), numeric=True))
        made.append(cells + _numbers(columns, group, id(group) in best))
    return made


def telling(comparison: Comparison) -> list[Column]:
    """The metric, and the columns in which rows differ; of a single row all that are known."""
    groups = comparison.groups
    return [
        column
        for column in page_columns(comparison)
        if column.name == comparison.metric.name
        or len(groups) == 1
        or len({column.text(group) for group in groups}) > 1
    ]


def page_columns(comparison: Comparison) -> list[Column]:
    """The columns that some row knows; the multiply-adds of training stand for the images through the backbone."""
    return [
        column
        for column in order_columns(comparison.metric)
        if column.name != "backbone_forwards"
        and any(group.over_runs(column.value) is not None for group in comparison.groups)
    ]


def same_for_all(comparison: Comparison) -> str:
    """The columns that are left out of the table because all rows agree, with their value."""
    left_out = [column for column in page_columns(comparison) if column not in telling(comparison)]
    return ", ".join(f"{column.title} {column.text(comparison.groups[0])}" for column in left_out)


def _numbers(columns: list[Column], group: Group, best: bool) -> list[Cell]:
    cells = []
    for column in columns:
        found = group.over_runs(column.value)
        value = "" if found is None else repr(found.mean)
        cells.append(Cell(column.text(group), value, numeric=True, bold=best and column.name == group.metric.name))
    return cells


def run_rows(comparison: Comparison) -> list[list[Cell]]:
    """The cells of the list of runs."""
    made = []
    for group in comparison.groups:
        for run in group.runs:
            seconds = run.seconds
            made.append(
                [
                    Cell(run.name, run.name),
                    Cell(comparison.label(group), comparison.label(group)),
                    Cell(str(run.repeat), repr(run.repeat.place), numeric=True),
                    Cell(run.metric.text(run.score), repr(run.score), numeric=True),
                    Cell(
                        "-" if seconds is None else duration(seconds),
                        "" if seconds is None else repr(seconds),
                        True,
                    ),
                    Cell(run.wandb_id or "-", run.wandb_id or ""),
                ]
            )
    return made


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What the page was made from, by name."""
    runs = comparison.study.runs
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    found = [
        ("generated", f"{now} by headstart {_own_version()}"),
        ("from", f"{len(runs)} completed result.json in {comparison.study.name}/"),
    ]
    images = dict.fromkeys(filter(None, (sizes(group) for group in comparison.groups)))
    found += [("images", "; ".join(images))] if images else []
    found += [("hardware", _pairs(fact)) for fact in hardware(runs)]
    found += [("versions", _pairs(fact)) for fact in versions(runs)]
    digests = sorted({str(run.result.get("config_hash")) for run in runs if run.result.get("config_hash")})
    return found + ([("config hashes", ", ".join(digests))] if digests else [])


def _pairs(fact: dict[str, Any]) -> str:
    return ", ".join(f"{key} {plain(value)}" for key, value in fact.items())


@functools.cache
def _own_version() -> str:
    try:
        return version("headstart")
    except PackageNotFoundError:
        return "(not installed)"
