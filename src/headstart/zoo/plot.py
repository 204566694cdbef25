"""The plot of published accuracy against measured cost, with the frontier: the best accuracy at each cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.style import percent_limits, place_labels
from headstart.tracking.plot_style import BASELINE, COLOURS, MUTED, STYLE, draw_in, save, sheet
from headstart.zoo.rows import Row, frontier
from headstart.zoo.tables import COSTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 1.35  # of the axis of costs, as a factor
SPACING = 16  # pixels
LABELLED = 40  # with more points than this, only those on the frontier have names


def draw(rows: Sequence[Row], path: Path) -> Path | None:
    """Draw a panel for each cost that is known for two or more networks with published accuracies; None without any."""

    panels = {cost: known for cost in COSTS if len(known := _select_known(rows, cost)) > 1}
    if not panels:
        return None
    with draw_in(STYLE):
        figure = sheet(9.4, 5.6 * len(panels))
        drawn = [
            (figure.add_subplot(len(panels), 1, place), cost, known)
            for place, (cost, known) in enumerate(panels.items(), 1)
        ]
        for axes, cost, known in drawn:
            _draw_panel(axes, cost, known)
        figure.canvas.draw()  # lays out all axes
        for axes, cost, known in drawn:
            named = known if len(known) <= LABELLED else frontier(known, cost)
            spots = [(row.values[cost], row.values["top1"]) for row in known]
            spots += _points_along(axes, _frontier_corners(known, cost))
            place_labels(axes, [(row.values[cost], row.values["top1"], row.model) for row in named], spots)
        return save(figure, path)


def _select_known(rows: Sequence[Row], cost: str) -> list[Row]:
    return [row for row in rows if row.value("top1") is not None and (row.value(cost) or 0.0) > 0]


def _draw_panel(axes: Axes, cost: str, rows: Sequence[Row]) -> None:
    best = frontier(rows, cost)
    costs = [row.values[cost] for row in rows]
    others = [row for row in rows if row not in best]
    low, high = min(costs) / MARGIN, max(costs) * MARGIN
    steps = _frontier_corners(rows, cost)
    axes.plot([x for x, _ in steps], [y for _, y in steps], color=COLOURS[0], linewidth=1.4, zorder=2)
    for drawn, colour in ((others, BASELINE), (best, COLOURS[0])):
        axes.plot(
            [row.values[cost] for row in drawn],
            [row.values["top1"] for row in drawn],
            "o",
            color=colour,
            markersize=7,
            markeredgecolor="white",
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(*percent_limits([row.values["top1"] for row in rows], margin=0.1))
    _set_ticks(axes, low, high)
    axes.set_title(f"Top-1 against {COSTS[cost]}")
    axes.set_xlabel(f"{COSTS[cost]} (log scale)", color=MUTED)
    axes.set_ylabel("top-1 on ImageNet, published, %", color=MUTED)
    axes.grid(axis="both")
    axes.tick_params(length=0)


def _frontier_corners(rows: Sequence[Row], cost: str) -> list[tuple[float, float]]:
    """The corners of the frontier's line: from each of its networks to the right, then up to the next one."""
    spots = [(row.values[cost], row.values["top1"]) for row in frontier(rows, cost)]
    ends = [x for x, _ in spots[1:]] + [MARGIN * max(row.values[cost] for row in rows)]
    return [corner for (x, y), end in zip(spots, ends, strict=True) for corner in ((x, y), (end, y))]


def _points_along(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points along a line, so close to each other that no label fits between them."""
    found = []
    for one, other in pairwise(corners):
        (x0, y0), (x1, y1) = axes.transData.transform([one, other])
        count = 2 + int(max(abs(x1 - x0), abs(y1 - y0)) / SPACING)
        between = [(x0 + (x1 - x0) * step / count, y0 + (y1 - y0) * step / count) for step in range(count + 1)]
        found += [(float(x), float(y)) for x, y in axes.transData.inverted().transform(between)]
    return found


def _set_ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    steps = [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]
    steps = [step for step in steps if low <= step <= high] or [low, high]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
