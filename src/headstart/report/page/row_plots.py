"""The charts of single rows and of two rows: recall by class, verdicts on images, calibration, confusions."""

from __future__ import annotations

import math
import re
from typing import Any

from headstart.evaluation.metrics import ECE_BINS
from headstart.report.charts.classes import draw_classes
from headstart.report.charts.confusion import draw_confusion
from headstart.report.charts.grids import draw_verdicts
from headstart.report.charts.reliability import draw_reliability
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import Looks, percent_limits, shorten
from headstart.report.page.counts import list_pairs
from headstart.report.sections import Plot
from headstart.report.stats.contrast import ALL_SHOWN, Contrast, most_changed
from headstart.report.stats.one_row import (
    Reliability,
    count_group,
    leading,
    reliability,
    score_classes,
    shares,
    worst_pairs,
)
from headstart.report.study.columns import percent
from headstart.report.study.groups import Group
from headstart.tracking.confusion import count_pairs


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:60]


def plot_classes(table: Table, contrast: Contrast, place: int, name: str, caption: str) -> Plot:
    """Recall class by class of two rows."""
    shown = most_changed(contrast.classes)
    sides = contrast.pair.one, contrast.pair.other
    labels = _two_labels(table, contrast)
    drawn = [change.label for change in shown]
    changes: list[dict[str, Any]] = []
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
    by_seed = [score_classes([runs[side] for runs in contrast.pair.runs]) for side in (0, 1)]
    recalls = [100 * float(value) for side in by_seed if side for value in side.recall[:, drawn].ravel()]
    chart = draw_classes(changes, looks, percent_limits(recalls))  # room for each subset of seeds
    few = (
        f" The {ALL_SHOWN} most changed of {len(contrast.classes)} classes."
        if len(contrast.classes) > len(shown)
        else ""
    )
    about: dict[str, Any] = {"rows": [*map(table.number, sides)], "pairs": list_pairs(table, contrast.pair)}
    file, alt = f"classes-{place:02d}-{slug(name)}", f"Recall by class, {name}"
    return Plot(file, [chart], alt, f"{caption}{few}", kind="classes", labels=drawn, **about)


def plot_verdicts(table: Table, contrast: Contrast, place: int, name: str) -> Plot:
    """Test images by how many seeds of two rows got them right."""
    found, sides = contrast.verdicts, (contrast.pair.one, contrast.pair.other)
    assert found is not None
    counts = count_pairs(found.one, found.other, found.seeds + 1).tolist()
    one, other = (shorten(label, 40) for label in _two_labels(table, contrast))
    chart = draw_verdicts(counts, (one, other), table.palette.two(*sides))
    about: dict[str, Any] = {"rows": [*map(table.number, sides)], "pairs": list_pairs(table, contrast.pair)}
    file, alt = f"changed-{place:02d}-{slug(name)}", f"Test images by verdict, {name}"
    return Plot(file, [chart], alt, f"{name}.", kind="verdicts", **about)


def _two_labels(table: Table, contrast: Contrast) -> list[str]:
    labels = [table.label(side) for side in (contrast.pair.one, contrast.pair.other)]
    return labels if labels[0] != labels[1] else [f"{label} ({place})" for place, label in enumerate(labels, 1)]


def plot_reliability(table: Table, group: Group, found: Reliability, place: int) -> Plot:
    """How often a row is right when it says how sure it is."""
    label = table.comparison.label(group)
    every = found.counts.sum()
    bins: list[dict[str, Any]] = []
    for at in range(ECE_BINS):
        limits: dict[str, Any] = {"from": 100 * (at + 0.06) / ECE_BINS, "to": 100 * (at + 0.94) / ECE_BINS}
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
    return Plot(name, [chart], f"Reliability diagram of {label}", kind="reliability", rows=[table.number(group)])


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
        rows = [table.number(group)]
        drawn.append(Plot(name, [chart], alt, f"{label}. {confused}", kind="confusion", rows=rows))
    missing = f"Left out, for want of readable predictions: {', '.join(absent)}." if absent else ""
    few = f"The best {len(drawn)} of {len(comparison.groups)} rows." if len(shown) < len(comparison.groups) else ""
    return drawn, " ".join(filter(None, [missing, few]))
