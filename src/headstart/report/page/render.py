"""Render the report page: one HTML file that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headstart.report.charts.grids import AHEAD, BEHIND, OPEN
from headstart.report.charts.render import bundle_library, make_svg
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import brighten
from headstart.report.page.csv_tables import FILES
from headstart.report.page.findings import Findings
from headstart.report.page.gallery import Galleries
from headstart.report.page.store import link, make_store, write_json
from headstart.report.page.templates import template
from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.report.stats.decision import decide
from headstart.report.study.columns import Column, duration, order_columns
from headstart.report.study.facts import caveats, hardware, not_counted, sizes, versions
from headstart.report.study.groups import Comparison, plain
from headstart.report.table import best_rows, headings, names
from headstart.runtime.version import __version__
from headstart.tracking.plot_style import BASELINE, COLOURS, INK, MUTED, RULE

# Title, explanation, whether its cells are numbers.
RUN_HEADS = [
    ("run", "Opens to its curve, its confusions, its strategy and its command; without a script, its folder.", False),
    ("row", "", False),
    ("seed", "", True),
    ("score", "The number that the study is compared by.", True),
    ("time", "", True),
    ("W&B id", "", False),
]
MADE = ("scores", "cost", "curves", "confusion", "classes")  # kinds of charts whose tables the script makes whole
SCRIPTS = ("data.js", "counts.js", "charts.js", "table.js", "run.js")


def render(
    findings: Findings,
    sections: Sequence[Section],
    specs: Mapping[str, Any],
    galleries: Galleries | None,
    stamp: str = "",
) -> str:
    """The whole page; every text in it is escaped, and whatever draws its charts is in it.

    Args:
        specs: of the sections' charts, by the name of their figure.
        galleries: which read the test images; None shows no pictures.
    """
    comparison = findings.comparison
    table = findings.table
    columns = page_columns(comparison)
    telling = [column for column in columns if tells(comparison, column)]
    plots = [plot for section in sections for plot in section.pictures if isinstance(plot, Plot)]
    first = {plot.name for plot in plots if plot.first}
    store = make_store(findings, columns, _strip(plots, specs), galleries, comparison.study.folder / "report")
    return template("template.html").render(
        study=comparison.study.name,
        metric=comparison.metric,
        shared=list(headings(comparison).values()),
        decision=decide(comparison, findings.families),
        caveats=caveats(comparison),
        same=", ".join(f"{one.title} {one.text(comparison.groups[0])}" for one in columns if one not in telling),
        not_counted=not_counted(comparison.study),
        summary=_list_rows(table, telling),
        sections=sections,
        runs=_list_runs(comparison),
        skipped=comparison.study.skipped,
        facts=facts(comparison),
        files=[*FILES, "decision.json"],
        store=write_json(store),
        dims=store["dims"],
        drawings={name: make_svg(panels[0]) for name, panels in specs.items() if name in first},
        library=bundle_library() if specs else "",
        scripts=SCRIPTS,
        night=night_rules(table),
        stamp=stamp,
    )


def _strip(plots: Sequence[Plot], specs: Mapping[str, Any]) -> dict[str, Any]:
    """The specifications without the tables that the page's script makes of the runs."""
    made = {plot.name for plot in plots if plot.kind in MADE}
    return {
        name: [spec | {"datasets": {table: [] for table in spec["datasets"]}} for spec in panels]
        if name in made
        else panels
        for name, panels in specs.items()
    }


def night_rules(table: Table) -> str:
    """Style rules that give the charts' colours to a dark page."""
    looks = {table.palette.colour(group) for group in table.comparison.groups}
    used = sorted({*COLOURS, *looks, BASELINE, AHEAD, BEHIND, OPEN})
    pairs = {**{colour: brighten(colour) for colour in used}, INK: "#e6e8eb", MUTED: "#a3adb8", RULE: "#343a42"}
    pairs["white"] = "#15181c"  # hollow marks: the page's paper
    return "\n".join(
        f'  svg [{kind}="{colour}" i] {{ {kind}: {night}; }}'
        for colour, night in pairs.items()
        if colour != night
        for kind in ("fill", "stroke")
    )


def _list_rows(table: Table, columns: Sequence[Column]) -> Listing:
    """The main table."""
    comparison, palette = table.comparison, table.palette
    best = best_rows(comparison)
    named = list(names(comparison, comparison.groups[0]))
    heads = [(heading, "", False) for heading in named]
    heads += [("seeds", "Completed runs of this row, one per seed (and fold).", True)]
    heads += [(column.title, column.note, True) for column in columns]
    rows = []
    for group in comparison.groups:
        look = palette.colour(group), palette.shape(group)
        cells = [words(text, look if key == "strategy" else None) for key, text in names(comparison, group).items()]
        cells.append(number(len(group.runs)))
        for column in columns:
            found = group.over_runs(column.value)
            bold = id(group) in best and column.name == group.metric.name
            cells.append(Cell(column.text(group), "" if found is None else repr(found.mean), numeric=True, bold=bold))
        rows.append(cells)
    known = [*([""] * len(named)), "n", *(column.name for column in columns)]  # to the page's script
    return Listing("summary", heads, rows, names=known, ids=range(len(rows)))


def tells(comparison: Comparison, column: Column) -> bool:
    """Whether a column is shown: the metric, one in which rows differ, and of a single row each."""
    groups = comparison.groups
    shown = column.name == comparison.metric.name or len(groups) == 1
    return shown or len({column.text(group) for group in groups}) > 1


def page_columns(comparison: Comparison) -> list[Column]:
    """The columns that some row knows; the multiply-adds of training stand for the images through the backbone."""
    return [
        column
        for column in order_columns(comparison.metric)
        if column.name != "backbone_forwards"
        and any(group.over_runs(column.value) is not None for group in comparison.groups)
    ]


def _list_runs(comparison: Comparison) -> Listing:
    """The list of runs."""
    rows = [
        [
            Cell(run.name, run.name, href=link(run, comparison.study.folder / "report")),
            words(comparison.label(group)),
            Cell(str(run.repeat), repr(run.repeat.place), numeric=True),
            number(run.score, run.metric.text),
            number(run.seconds, duration),
            Cell(run.wandb_id or "-", run.wandb_id or ""),
        ]
        for group in comparison.groups
        for run in group.runs
    ]
    return Listing("runs", RUN_HEADS, rows, ids=range(len(rows)))


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What the page was made from, by name."""
    runs = comparison.study.runs
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    found = [
        ("generated", f"{now} by headstart {__version__}"),
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
