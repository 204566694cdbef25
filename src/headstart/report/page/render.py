"""Render the report page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from headstart.report.charts.grids import AHEAD, BEHIND, OPEN
from headstart.report.charts.render import bundle_library, make_svg
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import brighten
from headstart.report.page.store import link, make_store, write_json
from headstart.report.page.templates import template
from headstart.report.sections import Cell, Listing, Plot, Section
from headstart.report.stats.decision import decide
from headstart.report.study.columns import Column, duration, order_columns
from headstart.report.study.facts import caveats, hardware, not_counted, sizes, versions
from headstart.report.study.groups import Comparison, Group, plain
from headstart.report.table import best_rows, headings, names
from headstart.tracking.plot_style import BASELINE, COLOURS, INK, MUTED, RULE

if TYPE_CHECKING:
    from headstart.report.page.contents import Findings


# Title, explanation, whether its cells are numbers.
RUN_HEADS = [
    ("run", "Opens to its curve, its confusions, its strategy and its command; without a script, its folder.", False),
    ("row", "", False),
    ("seed", "", True),
    ("score", "The number that the study is compared by.", True),
    ("time", "", True),
    ("W&B id", "", False),
]
FILES = (
    *("summary.csv", "runs.csv", "pairs.csv", "worth.csv", "per_class.csv", "class_differences.csv"),
    *("calibration.csv", "changed.csv", "decision.json"),
)
SCRIPTS = ("data.js", "charts.js", "table.js", "run.js")


def render(findings: Findings, sections: Sequence[Section], specs: Mapping[str, Any], stamp: str = "") -> str:
    """The whole page; every text in it is escaped, and whatever draws its charts is in it.

    Args:
        specs: of the sections' charts, by the name of their figure.
    """
    comparison = findings.comparison
    table = findings.table
    store = make_store(table, page_columns(comparison), _strip(sections, specs), comparison.study.folder / "report")
    return template("template.html").render(
        study=comparison.study.name,
        metric=comparison.metric,
        shared=list(headings(comparison).values()),
        decision=decide(comparison, findings.families),
        caveats=caveats(comparison),
        same=same_for_all(comparison),
        not_counted=not_counted(comparison.study),
        summary=Listing(
            "summary", _heads(comparison), rows(table), names=_names(comparison), ids=range(len(comparison.groups))
        ),
        sections=sections,
        runs=Listing("runs", RUN_HEADS, run_rows(comparison), ids=range(sum(len(g.runs) for g in comparison.groups))),
        skipped=comparison.study.skipped,
        facts=facts(comparison),
        files=FILES,
        store=write_json(store),
        dims=store["dims"],
        drawings={name: make_svg(panels[0]) for name, panels in specs.items() if name in _first(sections)},
        library=bundle_library() if specs else "",
        scripts=SCRIPTS,
        night=night_rules(table),
        stamp=stamp,
    )


def _strip(sections: Sequence[Section], specs: Mapping[str, Any]) -> dict[str, Any]:
    """The specifications without the tables that the page's script makes of the runs."""
    made = {plot.name for section in sections for plot in section.pictures if isinstance(plot, Plot) and plot.kind}
    return {
        name: [spec | {"datasets": {table: [] for table in spec["datasets"]}} for spec in panels]
        if name in made
        else panels
        for name, panels in specs.items()
    }


def _first(sections: Sequence[Section]) -> set[str]:
    return {plot.name for section in sections for plot in section.pictures if isinstance(plot, Plot) and plot.first}


def night_rules(table: Table) -> str:
    """Style rules that give the charts' colours to a dark page."""
    looks = {table.palette.colour(group) for group in table.comparison.groups}
    used = sorted({*COLOURS, *looks, BASELINE, AHEAD, BEHIND, OPEN})
    pairs = {**{colour: brighten(colour) for colour in used}, INK: "#e6e8eb", MUTED: "#a3adb8", RULE: "#343a42"}
    return "\n".join(
        f'  svg [{kind}="{colour}" i] {{ {kind}: {night}; }}'
        for colour, night in pairs.items()
        if colour != night
        for kind in ("fill", "stroke")
    )


def _heads(comparison: Comparison) -> list[tuple[str, str, bool]]:
    named = [(heading, "", False) for heading in names(comparison, comparison.groups[0])]
    notes = [(column.title, column.note, True) for column in telling(comparison)]
    return [*named, ("seeds", "Completed runs of this row, one per seed (and fold).", True), *notes]


def _names(comparison: Comparison) -> list[str]:
    """What the page's script knows the columns of the main table by."""
    return [*([""] * len(names(comparison, comparison.groups[0]))), "n", *(c.name for c in telling(comparison))]


def rows(table: Table) -> list[list[Cell]]:
    """The cells of the main table."""
    comparison, palette = table.comparison, table.palette
    best = best_rows(comparison)
    columns = telling(comparison)
    made = []
    for group in comparison.groups:
        look = palette.colour(group), palette.shape(group)
        cells = [
            Cell(text, text, swatch=look if heading == "strategy" else None)
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
                    Cell(run.name, run.name, href=link(run, comparison.study.folder / "report")),
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
