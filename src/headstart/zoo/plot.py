"""Published accuracy against measured cost, and the frontier: what is best at each cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.style import BASELINE, COLOURS, MUTED, STYLE, percent_limits, place_labels, save, sheet
from headstart.zoo.rows import Row, frontier
from headstart.zoo.tables import COSTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 1.35  # of the axis of costs, as a factor
SPACING = 16  # pixels
LABELLED = 40  # more points than this, and only those on the frontier are named


def draw(rows: Sequence[Row], path: Path) -> Path | None:
    """A panel for each cost of which two networks with published accuracies know; None where there is none."""
    import matplotlib

    panels = {cost: known for cost in COSTS if len(known := _known(rows, cost)) > 1}
    if not panels:
        return None
    with matplotlib.rc_context(STYLE):
        figure = sheet(9.4, 5.6 * len(panels))
        drawn = [
            (figure.add_subplot(len(panels), 1, place), cost, known)
            for place, (cost, known) in enumerate(panels.items(), 1)
        ]
        for axes, cost, known in drawn:
            _panel(axes, cost, known)
        figure.canvas.draw()  # now all axes have their place
        for axes, cost, known in drawn:
            named = known if len(known) <= LABELLED else frontier(known, cost)
            spots = [(row.values[cost], row.values["top1"]) for row in known] + _along(axes, _steps(known, cost))
            place_labels(axes, [(row.values[cost], row.values["top1"], row.model) for row in named], spots)
        return save(figure, path)


def _known(rows: Sequence[Row], cost: str) -> list[Row]:
    return [row for row in rows if row.known("top1") is not None and (row.known(cost) or 0.0) > 0]


def _panel(axes: Axes, cost: str, rows: Sequence[Row]) -> None:
    best = frontier(rows, cost)
    costs = [row.values[cost] for row in rows]
    others = [row for row in rows if row not in best]
    low, high = min(costs) / MARGIN, max(costs) * MARGIN
    steps = _steps(rows, cost)
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
    _ticks(axes, low, high)
    axes.set_title(f"Top-1 against {COSTS[cost]}")
    axes.set_xlabel(f"{COSTS[cost]} (log scale)", color=MUTED)
    axes.set_ylabel("top-1 on ImageNet, published, %", color=MUTED)
    axes.grid(axis="both")
    axes.tick_params(length=0)


def _steps(rows: Sequence[Row], cost: str) -> list[tuple[float, float]]:
    """The frontier's corners: from each of its networks to the right, and up to the next."""
    spots = [(row.values[cost], row.values["top1"]) for row in frontier(rows, cost)]
    ends = [x for x, _ in spots[1:]] + [MARGIN * max(row.values[cost] for row in rows)]
    return [corner for (x, y), end in zip(spots, ends, strict=True) for corner in ((x, y), (end, y))]


def _along(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a line, close enough to each other that no label fits between them."""
    found = []
    for one, other in pairwise(corners):
        (x0, y0), (x1, y1) = axes.transData.transform([one, other])
        count = 2 + int(max(abs(x1 - x0), abs(y1 - y0)) / SPACING)
        between = [(x0 + (x1 - x0) * step / count, y0 + (y1 - y0) * step / count) for step in range(count + 1)]
        found += [(float(x), float(y)) for x, y in axes.transData.inverted().transform(between)]
    return found


def _ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    steps = [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]
    steps = [step for step in steps if low <= step <= high] or [low, high]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
