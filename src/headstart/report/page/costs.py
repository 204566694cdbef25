"""The page's sections on cost: what more accuracy costs, and the best row for each budget."""

from collections.abc import Callable
from typing import Any

from headstart.report.charts.scatter import draw_scatter, find_limits
from headstart.report.charts.tables import Table, list_costs, score_limits, score_span
from headstart.report.page.evidence import MOST_OPEN, head_in_unit, make_points_cell, make_row_cell
from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.report.stats.paired import Family
from headstart.report.stats.worth import (
    BUDGETS,
    SECONDS,
    Budget,
    Step,
    advice,
    along_frontier,
    cheaper,
    cheapest,
    over_cheapest,
    tells,
)
from headstart.report.study.columns import duration, macs
from headstart.report.study.groups import Group

NUMBERS = {"seconds": "seconds", "training_gmacs": "gmacs"}
WORTH_HEADS = [
    ("row", "", False),
    ("over", "", False),
    ("points", "Gained over the other row ± half-width of the paired difference's 95 % interval.", True),
    ("verdict", "Whether the paired test shows the difference.", False),
    ("extra time", "Seconds with a cold cache, difference of means.", True),
    ("points per minute", "Points gained per extra minute; “-” where that is within 10 %, or nothing gained.", True),
    ("extra MACs", "Multiply-adds of training, difference of means.", True),
    (
        "points per TMAC",
        "Points gained per extra 10¹² multiply-adds; “-” where no more of them are spent, or nothing gained.",
        True,
    ),
]


def worth_section(table: Table, families: list[Family]) -> Section:
    """What more accuracy costs: against the cheapest row, and from one row of the frontier to the next."""
    tables, metric = [], table.comparison.metric
    for place, family in enumerate(families):
        title = f"{family.task}: " if len(families) > 1 else ""
        reference = cheapest(family.rows)
        if reference is None or len(family.rows) < 2:
            continue
        name = table.label(reference)
        kinds = {
            f"{title}every row against {name}, the cheapest": over_cheapest(family),
            f"{title}one step at a time: each row of the frontier against the one before it": along_frontier(family),
        }
        for kind, (words_, steps) in enumerate(kinds.items()):
            same = kind == 1 and [s.pair.other for s in steps] == [reference] * len(steps)
            if steps and not same:
                rows = [_worth_row(table, found) for found in steps]
                about = [[table.number(side) for side in (found.pair.one, found.pair.other)] for found in steps]
                where: dict[str, Any] = (
                    {"folded": words_} if len(families) > 1 or len(rows) > MOST_OPEN else {"title": words_}
                )
                heads = head_in_unit(WORTH_HEADS, metric)
                tables.append(Listing(f"worth-{place}-{kind}", heads, rows, about=about, mark="study", **where))
    if not tables:
        return Section("Is it worth it?", "That takes two rows whose time or multiply-adds are known.", [])
    caption = (
        f"{metric.unit.capitalize()} of test {metric.title} beside what they cost more; where the test does not show a"
        f" gain, {metric.unit} per minute and per TMAC are no finding either. The multiply-adds are those of training"
        " and validation, with the backward pass of the whole network as twice the forward pass; a backward pass"
        " through a part of it is not recorded, and ≥, ≤ or ~ mark where that leaves one side, the other or both too"
        " low."
    )
    return Section("Is it worth it?", caption, [], tables=tables)


def _worth_row(table: Table, found: Step) -> list[Cell]:
    pair = found.pair
    verdict = "shown" if pair.shown else "not shown" if pair.planned else "not tested"
    dearer = pair.gain > 0 and cheaper(pair.other, pair.one)
    minute = None if found.per_second is None or not dearer else 60 * pair.metric.scale * found.per_second
    tera = None if found.per_gmac is None or pair.gain <= 0 else 1000 * pair.metric.scale * found.per_gmac
    return [
        *(make_row_cell(table, side) for side in (pair.one, pair.other)),
        make_points_cell(pair),
        words(verdict),
        number(found.seconds, lambda value: _with_sign(value, duration)),
        number(minute, _short),
        number(found.gmacs, lambda value: found.mark + _with_sign(value, macs)),
        number(tera, lambda value: f"{'~ ' if found.mark else ''}{_short(value)}"),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _with_sign(value: float, write: Callable[[float], str]) -> str:
    return ("+" if value > 0 else "-" if value < 0 else "") + write(abs(value))


def budgets_section(table: Table, families: list[Family], *, drawn: bool) -> Section:
    """Which row to take for which limit: a sentence per cost, or, of several tasks, one on each task's time."""
    title, metric = "Best for each budget", table.comparison.metric
    if len(families) == 1:
        points = [advice(table.comparison, families[0], budget) for budget in BUDGETS]
    else:
        advised = {family.task: advice(table.comparison, family, SECONDS) for family in families}
        points = [f"{task}. {text}" for task, text in advised.items() if text]
    if not any(points):
        alone = len(table.comparison.groups) == 1
        return Section(title, "There is one row only." if alone else "No run says what it took.", [])
    caption = (
        f"The best mean {metric.title} for a limit on time, multiply-adds or trained parameters; by the means alone, so"
        " look above for what is shown."
    )
    plots = plot_costs(table) if drawn else []
    if plots:
        caption += (
            f" {'Up' if metric.rising else 'Down'} is better, left is cheaper; the stepped line joins the"
            " rows that no row of equal or lower cost beats, the bar is its 95 % interval, and small dots are single"
            " seeds."
        )
        if any(budget.of(row) == 0 for budget in BUDGETS for row in table.comparison.groups):
            caption += " A row that costs nothing has no place on such an axis."
    return Section(title, caption, plots, small=True, points=list(filter(None, points)))


def plot_costs(table: Table) -> list[Plot]:
    """The metric against time, multiply-adds of training and trained parameters, as far as they are known."""
    tasks, metric = table.comparison.tasks(), table.comparison.metric
    places = {task: place for place, task in enumerate(tasks)}
    found = []
    for budget in BUDGETS:
        known = {task: own for task, rows in tasks.items() if (own := [row for row in rows if budget.of(row)])}
        if known and (budget is SECONDS or any(tells(rows, budget) for rows in tasks.values())):
            charts = [
                _draw_cost(table, rows, budget, task if len(tasks) > 1 else "", len(known))
                for task, rows in known.items()
            ]
            name = f"{metric.name}_vs_{budget.name}"
            alt = f"Test {metric.title} against {budget.axis}, logarithmic axis"
            first = budget is SECONDS and len(charts) == 1
            about: dict[str, Any] = {"cost": budget.name, "tasks": [places[task] for task in known]}
            found.append(Plot(name, charts, alt, kind="cost", wide=first, first=first, **about))
    return found


def _draw_cost(table: Table, rows: list[Group], budget: Budget, task: str, panels: int) -> Any:
    metric = rows[0].metric
    points, dots, corners = list_costs(table, rows, budget)
    (low, high), _ = find_limits([*points, *dots], log=True)
    chart = draw_scatter(
        points,
        (budget.axis, metric.axis),
        table.looks_of(rows),
        front=[*corners, (high, corners[-1][1])],
        dots=dots,
        limits=((low, high), score_limits(metric, score_span(rows), 0.1)),
        number=NUMBERS.get(budget.name, "count"),
        legend=budget is SECONDS,
        panels=panels,
    )
    return chart.properties(title=task) if task else chart
