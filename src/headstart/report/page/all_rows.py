"""The page's charts of all rows: their metric, their metric against what they cost, and their learning curves."""

from typing import Any

from headstart.report.charts.accuracy import draw_accuracy
from headstart.report.charts.lines import draw_lines
from headstart.report.charts.scatter import draw_scatter, find_limits
from headstart.report.charts.tables import MOST_SCORES, Table, list_costs, list_curves, list_scores, score_span
from headstart.report.charts.theme import percent_limits
from headstart.report.sections import Plot, Section
from headstart.report.stats.paired import Family
from headstart.report.stats.worth import BUDGETS, SECONDS, Budget, advice, tells
from headstart.report.study.curves import panels
from headstart.report.study.groups import Group
from headstart.report.study.metric import Metric

NUMBERS = {"seconds": "seconds", "training_gmacs": "gmacs"}


def score_limits(metric: Metric, values: list[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits around values of a metric as they are drawn; those of a share are percent."""
    if metric.share:
        return percent_limits(values, margin)
    room = max(margin * (max(values) - min(values)), 0.02)
    return max(0.0, min(values) - room), max(values) + room


def scores_section(table: Table) -> Section:
    """The metric of every row, with intervals and seeds."""
    metric, tasks = table.comparison.metric, table.comparison.tasks()
    caption = (
        f"Each row's large mark is its mean test {metric.title}, the bar its 95 % interval (none for one seed), and"
        " each small dot below it one seed."
    )
    most = max(3, MOST_SCORES // len(tasks))
    if any(len(rows) > most for rows in tasks.values()):
        caption += f" The best {most} rows of each task are drawn, of a subset the best of that."
    limits = score_limits(metric, score_span(table.comparison.groups))
    chart = draw_accuracy(*list_scores(table), metric.axis, limits, table.looks)
    alt = f"Test {metric.title} of each row with intervals and single seeds"
    plot = Plot(metric.name, [chart], alt, kind="scores", wide=True, first=True)
    return Section(metric.title[0].upper() + metric.title[1:], caption, [plot])


def budgets_section(table: Table, families: list[Family], *, drawn: bool) -> Section:
    """Which row to take for which limit: a sentence per cost, or, of several tasks, one on each task's time."""
    title, metric = "Best for each budget", table.comparison.metric
    if len(families) == 1:
        points = [advice(table.comparison, families[0], budget) for budget in BUDGETS]
    else:
        advised = {family.task: advice(table.comparison, family, SECONDS) for family in families}
        points = [f"{task}. {text}" for task, text in advised.items() if text]
    if not any(points):
        return Section(title, "No run says what it took.", [])
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


def curves_section(table: Table) -> Section:
    """Validation accuracy by epoch, a plot for each panel."""
    without = [name for name, curve in table.curves.items() if curve is None]
    missing = f" Without a readable metrics.csv: {', '.join(without)}." if without else ""
    plots: list[Plot] = []
    shown = panels(table.comparison)
    for title, rows in shown.items():
        points, levels = list_curves(table, rows)
        drawn = [*points, *levels]
        known = [value for point in drawn for value in (point["y"], point["low"], point["high"]) if value is not None]
        if not known:
            continue
        own = {point["label"] for point in drawn}
        chart = draw_lines(
            points,
            ("epoch, through all phases", "validation accuracy, %"),
            table.looks_of([row for row in rows if table.label(row) in own]),
            levels=levels,
            whole=True,
            limits=percent_limits(known),
            title=title if len(shown) > 1 else "",
        )
        name = "learning_curves" if len(shown) == 1 else f"learning_curves-{len(plots) + 1:02d}"
        about: dict[str, Any] = {"kind": "curves", "rows": [*map(table.number, rows)], "wide": len(shown) == 1}
        plots.append(Plot(name, [chart], f"Validation accuracy by epoch, {title}", **about))
    if not plots:
        return Section("Learning curves", f"No run recorded validation accuracy by epoch.{missing}", [])
    caption = (
        "Lines are mean validation accuracy after each epoch that all seeds have, bands reach from the lowest to the"
        " highest seed, phases follow each other (a hollow mark where one begins), and a dashed level is a fitted"
        " probe, which has no epochs."
    )
    return Section("Learning curves", caption + missing, plots, small=True)
