"""The charts of a study's page, each made of its small table."""

from __future__ import annotations

import math
import re

from headstart.evaluation.metrics import ECE_BINS
from headstart.report.charts.accuracy import draw_accuracy
from headstart.report.charts.classes import draw_classes
from headstart.report.charts.confusion import draw_confusion
from headstart.report.charts.grids import draw_pairs, draw_verdicts
from headstart.report.charts.lines import draw_lines
from headstart.report.charts.reliability import draw_reliability
from headstart.report.charts.scatter import draw_scatter, find_limits
from headstart.report.charts.tables import Table, list_costs, list_curves, list_scores, score_span
from headstart.report.charts.theme import Looks, percent_limits, shorten
from headstart.report.sections import Plot
from headstart.report.stats.calibration import Reliability, reliability
from headstart.report.stats.classes import ALL_SHOWN, most_changed
from headstart.report.stats.confusion import count_group, leading, shares, worst_pairs
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.paired import Family
from headstart.report.stats.worth import BUDGETS, SECONDS, Budget, tells
from headstart.report.study.columns import percent
from headstart.report.study.curves import panels
from headstart.report.study.groups import Group
from headstart.report.study.metric import Metric
from headstart.tracking.confusion import count_pairs

MATRIX_FROM, MOST_ROWS, HALF_PAGE = 5, 24, 9
NUMBERS = {"seconds": "seconds", "training_gmacs": "gmacs"}


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:60]


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
    found = []
    for budget in BUDGETS:
        known = {task: own for task, rows in tasks.items() if (own := [row for row in rows if budget.of(row)])}
        if known and (budget is SECONDS or any(tells(rows, budget) for rows in tasks.values())):
            charts = [_draw_cost(table, rows, budget, task if len(tasks) > 1 else "") for task, rows in known.items()]
            name = f"{table.comparison.metric.name}_vs_{budget.name}"
            alt = f"Test {table.comparison.metric.title} against {budget.axis}, logarithmic axis"
            first = budget is SECONDS and len(charts) == 1
            kind = "cost" if len(known) == len(tasks) else ""
            found.append(Plot(name, charts, alt, kind=kind, wide=first, first=first, cost=budget.name))
    return found


def _draw_cost(table: Table, rows: list[Group], budget: Budget, task: str) -> object:
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
                    cells.append({"row": a, "column": b, "gain": pair.gain, "text": text, "shown": pair.shown})
        few = f", the best {MOST_ROWS} of {len(family.rows)} rows" if len(family.rows) > MOST_ROWS else ""
        one_task = f"{metric.unit.capitalize()} of {metric.title}, row less column"
        title = family.task if len(families) > 1 else one_task
        chart = draw_pairs(cells, names, metric.unit)
        wide = len(family.rows) > HALF_PAGE
        found.append(Plot(f"pairs-{place:02d}", [chart], f"Differences between rows, {title}", f"{title}{few}.", wide))
    return found


def plot_classes(table: Table, contrast: Contrast, place: int, name: str, caption: str) -> Plot:
    """Recall class by class of two rows."""
    shown = most_changed(contrast.classes)
    sides = contrast.pair.one, contrast.pair.other
    labels = _two_labels(table, contrast)
    changes = []
    for change in shown:
        mean, half = 100 * change.difference.mean, change.difference.interval
        text = f"{mean:+.0f}" + ("" if half is None else f" ± {100 * half:.0f}")
        clear = half is not None and abs(mean) > 100 * half
        changes.append(
            {
                "class": change.name,
                "one": 100 * change.one,
                "other": 100 * change.other,
                "text": text,
                "clear": clear,
                "images": change.images,
            }
        )
    looks = Looks(labels, table.palette.two(*sides), ["circle", "square"])
    limits = percent_limits([value for change in changes for value in (change["one"], change["other"])])
    chart = draw_classes(changes, looks, limits)
    few = (
        f" The {ALL_SHOWN} most changed of {len(contrast.classes)} classes."
        if len(contrast.classes) > len(shown)
        else ""
    )
    rows = [*map(table.number, sides)]
    return Plot(f"classes-{place:02d}-{slug(name)}", [chart], f"Recall by class, {name}", f"{caption}{few}", rows=rows)


def plot_verdicts(table: Table, contrast: Contrast, place: int, name: str) -> Plot:
    """Test images by how many seeds of two rows got them right."""
    found, sides = contrast.verdicts, (contrast.pair.one, contrast.pair.other)
    assert found is not None
    counts = count_pairs(found.one, found.other, found.seeds + 1).tolist()
    one, other = (shorten(label, 40) for label in _two_labels(table, contrast))
    chart = draw_verdicts(counts, (one, other), table.palette.two(*sides))
    rows = [*map(table.number, sides)]
    return Plot(f"changed-{place:02d}-{slug(name)}", [chart], f"Test images by verdict, {name}", f"{name}.", rows=rows)


def _two_labels(table: Table, contrast: Contrast) -> list[str]:
    labels = [table.label(side) for side in (contrast.pair.one, contrast.pair.other)]
    return labels if labels[0] != labels[1] else [f"{label} ({place})" for place, label in enumerate(labels, 1)]


def plot_reliability(table: Table, group: Group, found: Reliability, place: int) -> Plot:
    """How often a row is right when it says how sure it is."""
    label = table.comparison.label(group)
    every = found.counts.sum()
    bins = []
    for at in range(ECE_BINS):
        limits = {"from": 100 * (at + 0.06) / ECE_BINS, "to": 100 * (at + 0.94) / ECE_BINS}
        means = [
            None if math.isnan(value) else 100 * value
            for value in (float(found.confidence[at]), float(found.accuracy[at]))
        ]
        share = float(100 * found.counts[at] / every)
        bins.append(limits | {"sure": means[0], "right": means[1], "share": share, "few": share < 1})
    seeds = group.over_runs(lambda run: run.number("test.ece"))
    told = [f"ECE {percent(found.error)} % pooled"] if len(group.runs) > 1 else [f"ECE {percent(found.error)} %"]
    told += [f"ECE {percent(seeds.mean)} % mean of seeds"] if seeds is not None and len(group.runs) > 1 else []
    look = table.palette.colour(group), table.palette.shape(group)
    chart = draw_reliability(bins, look, shorten(label, 46), told)
    name = f"reliability-{place:02d}-{slug(label)}"
    return Plot(name, [chart], f"Reliability diagram of {label}", rows=[table.number(group)])


def plot_calibration(table: Table) -> tuple[list[Plot], list[str]]:
    """The reliability of the leading rows, and the rows that give no probabilities."""
    plots: list[Plot] = []
    without = []
    drawn = {id(group) for group in leading(table.comparison)}
    for group in table.comparison.groups:
        found = reliability(group.runs)
        if found is None:
            without.append(table.comparison.label(group))
        elif id(group) in drawn:
            plots.append(plot_reliability(table, group, found, len(plots) + 1))
    return plots, without


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


def plot_confusions(table: Table) -> tuple[list[Plot], str]:
    """A matrix for each leading row, and a sentence on what is left out."""
    drawn: list[Plot] = []
    absent: list[str] = []
    comparison = table.comparison
    shown = {id(group) for group in leading(comparison)}
    for place, group in enumerate(comparison.groups, start=1):
        counts, classes, without = count_group(group)
        absent += without
        if counts is None or id(group) not in shown:
            continue
        label, rate = comparison.label(group), shares(counts)
        pairs = worst_pairs(rate, classes)
        confused = f"Most often taken: {pairs}." if pairs else "No image was taken for another class."
        chart = draw_confusion(rate.tolist(), classes, shorten(label, 46))
        name, alt = f"confusion-{place:02d}-{slug(label)}", f"Confusion matrix of {label}"
        drawn.append(Plot(name, [chart], alt, f"{label}. {confused}", rows=[table.number(group)]))
    missing = f"Left out, for want of readable predictions: {', '.join(absent)}." if absent else ""
    few = f"The best {len(drawn)} of {len(comparison.groups)} rows." if len(shown) < len(comparison.groups) else ""
    return drawn, " ".join(filter(None, [missing, few]))
