"""The page's charts of single rows: how right each is when it says how sure it is, and the classes that it confuses."""

import math
import re
from typing import Any

from headstart.evaluation.metrics import ECE_BINS
from headstart.report.charts.confusion import draw_confusion
from headstart.report.charts.reliability import draw_reliability
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import shorten
from headstart.report.sections import Plot, Section
from headstart.report.stats.one_row import Reliability, count_group, leading, reliability, shares, worst_pairs
from headstart.report.study.columns import percent
from headstart.report.study.groups import Group


def name_file(kind: str, place: int, label: str) -> str:
    """The name of a picture of its kind, with its place and what it shows."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower()[:60]
    return f"{kind}-{place:02d}-{slug}"


def calibration_section(table: Table) -> Section:
    """How often the best rows are right when they say how sure they are."""
    plots, without = plot_calibration(table)
    missing = f" Without probabilities or readable predictions, so left out: {', '.join(without)}." if without else ""
    rest = len(table.comparison.groups) - len(without) - len(plots)
    missing += f" The best rows are drawn; calibration.csv has the other {rest} too." if rest else ""
    if not plots:
        return Section("Calibration", f"No row gives probabilities.{missing}", [])
    caption = (
        "When the network is 80 % sure, is it right 80 % of the time? On the dashed line it is; below it, it is too"
        " sure. Images of all seeds stand in 15 bins of equal width, with their share as pale bars; hollow marks hold"
        " less than 1 % of them. The expected calibration error (ECE) is the mean distance from the line over images."
    )
    return Section("Calibration", caption + missing, plots, small=True)


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
            plots.append(_plot_reliability(table, group, found, len(plots) + 1))
    return plots, without


def _plot_reliability(table: Table, group: Group, found: Reliability, place: int) -> Plot:
    label, every = table.comparison.label(group), found.counts.sum()
    bins: list[dict[str, Any]] = []
    for at, means in enumerate(zip(found.confidence.tolist(), found.accuracy.tolist(), strict=True)):
        limits = {"from": 100 * (at + 0.06) / ECE_BINS, "to": 100 * (at + 0.94) / ECE_BINS}
        sure, right = (None if math.isnan(value) else 100 * value for value in means)
        share = float(100 * found.counts[at] / every)
        bins.append({**limits, "sure": sure, "right": right, "share": share, "few": share < 1})
    seeds = group.over_runs(lambda run: run.number("test.ece"))
    several = len(group.runs) > 1
    told = [f"ECE {percent(found.error)} %{' pooled' if several else ''}"]
    told += [f"{percent(seeds.mean)} % mean of seeds"] if seeds is not None and several else []
    look = table.palette.colour(group), table.palette.shape(group)
    chart = draw_reliability(bins, look, shorten(label, 46), told)
    name, alt = name_file("reliability", place, label), f"Reliability diagram of {label}"
    return Plot(name, [chart], alt, kind="reliability", rows=[table.number(group)])


def confusions_section(table: Table) -> Section:
    """Which classes the best rows take for which."""
    plots, missing = plot_confusions(table)
    note = f" {missing}" if missing else ""
    if not plots:
        return Section("Confusion matrices", f"No run left readable predictions.{note}", [])
    caption = (
        "Rows are true classes, columns predicted ones; each row adds up to 100 % over all seeds' test images, so a"
        " perfect model is dark on the diagonal only."
    )
    return Section("Confusion matrices", caption + note, plots, small=True)


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
        name, alt = name_file("confusion", place, label), f"Confusion matrix of {label}"
        rows = [table.number(group)]
        drawn.append(Plot(name, [chart], alt, f"{label}. {confused}", kind="confusion", rows=rows))
    missing = f"Left out, for want of readable predictions: {', '.join(absent)}." if absent else ""
    few = f"The best {len(drawn)} of {len(comparison.groups)} rows." if len(shown) < len(comparison.groups) else ""
    return drawn, " ".join(filter(None, [missing, few]))
