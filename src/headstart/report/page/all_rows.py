"""The page's charts of all rows: their metric, and their learning curves."""

from typing import Any

from headstart.report.charts.accuracy import draw_accuracy
from headstart.report.charts.lines import draw_lines
from headstart.report.charts.tables import MOST_SCORES, Table, list_curves, list_scores, score_limits, score_span
from headstart.report.charts.theme import percent_limits
from headstart.report.sections import Plot, Section
from headstart.report.study.curves import panels


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
