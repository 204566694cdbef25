"""Recall, precision and F1 class by class, and the differences in recall between two rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.folds import pool_answers
from headstart.report.groups import Comparison, Stat, stat
from headstart.report.paired import Pair
from headstart.report.study import Run
from headstart.report.style import Palette, percent_limits, shorten
from headstart.scores import class_scores
from headstart.tracking.plot_fonts import name_classes
from headstart.tracking.plot_style import INK, MUTED, save, sheet

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

ALL_SHOWN = 24
NAME_LENGTH = 26


@dataclass(frozen=True)
class ClassScores:
    """Recall, precision and F1 of each class by seed, float64 [seeds, classes], NaN where one is not defined.

    `images` are those of each class in the test set, int64 [classes].
    """

    images: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray

    def over_seeds(self, label: int) -> list[Stat | None]:
        """Recall, precision and F1 of one class over the seeds; None where one is not defined in every seed."""
        return [
            stat([None if math.isnan(value) else value for value in found[:, label].tolist()])
            for found in (self.recall, self.precision, self.f1)
        ]


def score_classes(runs: Sequence[Run]) -> ClassScores | None:
    """Each class's scores by seed; None where a run has no readable predictions or the seeds differ in their test
    images. The folds of a seed are one test set.
    """
    import numpy as np

    known = pool_answers(runs)
    if not known:
        return None
    n = len(runs[0].classes)
    images = np.bincount(known[0].labels, minlength=n)
    predicted = np.stack([np.bincount(one.predicted, minlength=n) for one in known])
    hits = np.stack([np.bincount(one.labels[one.right], minlength=n) for one in known])
    with np.errstate(invalid="ignore"):
        return ClassScores(images, *class_scores(images, predicted, hits))


@dataclass(frozen=True)
class ClassChange:
    """A class's recall in two rows over their common seeds, and its paired difference; shares of 1."""

    name: str
    label: int
    images: int
    one: float
    other: float
    difference: Stat


def changes(pair: Pair) -> list[ClassChange]:
    """Each class that has test images, in label order; empty where predictions cannot be read."""
    sides = [score_classes([runs[side] for runs in pair.runs]) for side in (0, 1)] if pair.runs else [None]
    known = [side for side in sides if side is not None]
    if len(known) < 2:
        return []
    images, one, other = known[0].images, known[0].recall, known[1].recall
    found = []
    for label, name in enumerate(pair.one.runs[0].classes):
        difference = stat((one[:, label] - other[:, label]).tolist())
        if images[label] and difference is not None:
            means = float(one[:, label].mean()), float(other[:, label].mean())
            found.append(ClassChange(name, label, int(images[label]), *means, difference))
    return found


def most_changed(found: list[ClassChange], most: int = ALL_SHOWN) -> list[ClassChange]:
    """The classes by difference, the largest gain first; of many the half with the largest gains and losses."""
    ordered = sorted(found, key=lambda change: (-change.difference.mean, change.label))
    return ordered if len(ordered) <= most else ordered[: most // 2] + ordered[-(most // 2) :]


def draw_changes(comparison: Comparison, pair: Pair, found: list[ClassChange], palette: Palette, path: Path) -> Path:
    """Draw both rows' recall of each class, and beside it the paired difference with its interval."""
    shown = most_changed(found)
    colours = palette.two(pair.one, pair.other)
    names = [comparison.label(side, within_task=True) for side in (pair.one, pair.other)]
    figure = sheet(8.6, 1.35 + 0.27 * len(shown))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
    places = list(range(len(shown)))
    left.hlines(places, [100 * c.other for c in shown], [100 * c.one for c in shown], color="#b8bfc7", linewidth=2)
    for name, colour, mark, values in zip(
        names, colours, ("o", "s"), ([c.one for c in shown], [c.other for c in shown]), strict=True
    ):
        spots = [100 * value for value in values]
        left.plot(spots, places, mark, color=colour, markersize=7, markeredgecolor="white", label=name, zorder=3)
    left.set_xlim(*percent_limits([100 * value for c in shown for value in (c.one, c.other)]))
    left.set_xlabel("recall, % of the class's test images", color=MUTED)
    drawable = name_classes(pair.one.runs[0].classes)
    left.set_yticks(places, [shorten(drawable[c.label], NAME_LENGTH) for c in shown])
    left.set_ylim(len(shown) - 0.4, -0.6)
    _differences(right, shown, colours)
    if len(shown) < len(found):
        for axes in (left, right):
            axes.axhline(len(shown) / 2 - 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9.5, handletextpad=0.2)
    return save(figure, path)


def _differences(axes: Axes, shown: list[ClassChange], colours: tuple[str, str]) -> None:
    axes.axvline(0, color=INK, linewidth=0.8)
    widest = max(abs(100 * c.difference.mean) + 100 * (c.difference.interval or 0) for c in shown)
    limit = 1.08 * min(max(widest, 1.0), 4 * max(max(abs(100 * c.difference.mean) for c in shown), 1.0))
    for place, change in enumerate(shown):
        mean, half = 100 * change.difference.mean, change.difference.interval
        colour = colours[0] if mean > 0 else colours[1] if mean < 0 else MUTED
        if half is not None:
            ends = [max(-limit, mean - 100 * half), min(limit, mean + 100 * half)]
            axes.plot(ends, [place, place], color=colour, linewidth=6, alpha=0.28, solid_capstyle="butt", zorder=2)
        axes.plot([mean], [place], "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("difference, points", color=MUTED)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
