"""The charts of a study's page, each made of its small table."""

from __future__ import annotations

from typing import Any

from headstart.report.charts.accuracy import draw_accuracy
from headstart.report.charts.grids import draw_pairs
from headstart.report.charts.lines import draw_lines
from headstart.report.charts.scatter import draw_scatter, find_limits
from headstart.report.charts.tables import Table, list_costs, list_curves, list_scores, score_span
from headstart.report.charts.theme import percent_limits, shorten
from headstart.report.sections import Plot
from headstart.report.stats.paired import Family
from headstart.report.stats.worth import BUDGETS, SECONDS, Budget, tells
from headstart.report.study.curves import panels
from headstart.report.study.groups import Group
from headstart.report.study.metric import Metric

MATRIX_FROM, MOST_ROWS, HALF_PAGE = 5, 24, 9
NUMBERS = {"seconds": "seconds", "training_gmacs": "gmacs"}


def score_limits(metric: Metric, values: list[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits around values of a metric as they are drawn; those of a share are percent."""
    if metric.share:
        return percent_limits(values, margin)
    room = max(margin * (max(values) - min(values)), 0.02)
    return max(0.0, min(values) - room), max(values) + room


def plot_scores(table: Table) -> Plot:
    """The metric of every row, with intervals and seeds."""
    metric, groups = table.comparison.metric, table.comparison.groups
    limits = score_limits(metric, score_span(groups))
    chart = draw_accuracy(*list_scores(table), metric.axis, limits, table.looks)
    alt = f"Test {metric.title} of each row with intervals and single seeds"
    return Plot(metric.name, [chart], alt, kind="scores", wide=True, first=True)


def plot_costs(table: Table) -> list[Plot]:
    """The metric against time, multiply-adds of training and trained parameters, as far as they are known."""
    tasks = table.comparison.tasks()
    places = {task: place for place, task in enumerate(tasks)}
    found = []
    for budget in BUDGETS:
        known = {task: own for task, rows in tasks.items() if (own := [row for row in rows if budget.of(row)])}
        if known and (budget is SECONDS or any(tells(rows, budget) for rows in tasks.values())):
            charts = [
                _draw_cost(table, rows, budget, task if len(tasks) > 1 else "", len(known))
                for task, rows in known.items()
            ]
            name = f"{table.comparison.metric.name}_vs_{budget.name}"
            alt = f"Test {table.comparison.metric.title} against {budget.axis}, logarithmic axis"
            first = budget is SECONDS and len(charts) == 1
            drawn = [places[task] for task in known]
            found.append(Plot(name, charts, alt, kind="cost", wide=first, first=first, cost=budget.name, tasks=drawn))
    return found


def _draw_cost(table: Table, rows: list[Group], budget: Budget, task: str, panels: int) -> Any:
    metric = rows[0].metric
    points, dots, corners = list_costs(table, rows, budget)
    (low, high), _ = find_limits([*points, *dots], log=True)
    limits = ((low, high), score_limits(metric, score_span(rows), 0.1))
    front = [*corners, (high, corners[-1][1])]
    chart = draw_scatter(
        points,
        (budget.axis, metric.axis),
        table.looks_of(rows),
        front=front,
        dots=dots,
        limits=limits,
        number=NUMBERS.get(budget.name, "count"),
        legend=budget is SECONDS,
        panels=panels,
    )
    return chart.properties(title=task) if task else chart


def plot_pairs(table: Table, families: list[Family]) -> list[Plot]:
    """Each row against each other, where all pairs are tested."""
    found, metric = [], table.comparison.metric
    for place, family in enumerate(families, start=1):
        if family.reference is not None or len(family.rows) < MATRIX_FROM:
            continue
        rows = family.rows[:MOST_ROWS]
        names = [shorten(table.label(row), 40) for row in rows]
        cells = []
        for a, one in zip(names, rows, strict=True):
            for b, other in zip(names, rows, strict=True):
                if one is not other:
                    pair = family.between(one, other)
                    text = metric.number(pair.gain, "+")
                    numbers = {"one": table.number(one), "other": table.number(other)}
                    names_ = {"row": a, "column": b}
                    cells.append(names_ | numbers | {"gain": pair.gain, "text": text, "shown": pair.shown})
        few = f", the best {MOST_ROWS} of {len(family.rows)} rows" if len(family.rows) > MOST_ROWS else ""
        one_task = f"{metric.unit.capitalize()} of {metric.title}, row less column"
        title = family.task if len(families) > 1 else one_task
        chart = draw_pairs(cells, names, metric.unit)
        wide = len(family.rows) > HALF_PAGE
        alt = f"Differences between rows, {title}"
        found.append(Plot(f"pairs-{place:02d}", [chart], alt, f"{title}{few}.", wide, kind="pairs"))
    return found


def plot_curves(table: Table) -> tuple[list[Plot], list[str]]:
    """Validation accuracy by epoch, a plot for each panel; and the runs without a curve."""
    without = [name for name, curve in table.curves.items() if curve is None]
    found: list[Plot] = []
    shown = panels(table.comparison)
    for title, rows in shown.items():
        points, levels = list_curves(table, rows)
        values = [value for point in [*points, *levels] for value in (point["y"], point["low"], point["high"])]
        known = [value for value in values if value is not None]
        if not known:
            continue
        own = {point["label"] for point in [*points, *levels]}
        looks = table.looks_of([row for row in rows if table.label(row) in own])
        if not points:  # probes alone: an axis of epochs needs a number to stand on
            points = []
        chart = draw_lines(
            points,
            ("epoch, through all phases", "validation accuracy, %"),
            looks,
            levels=levels,
            whole=True,
            limits=percent_limits(known),
            title=title if len(shown) > 1 else "",
        )
        name = "learning_curves" if len(shown) == 1 else f"learning_curves-{len(found) + 1:02d}"
        numbers = [table.number(row) for row in rows]
        found.append(
            Plot(
                name,
                [chart],
                f"Validation accuracy by epoch, {title}",
                kind="curves",
                rows=numbers,
                wide=len(shown) == 1,
            )
        )
    return found, without
