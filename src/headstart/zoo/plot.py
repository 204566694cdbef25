"""Published accuracy against measured cost, and the frontier: what is best at each cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.style import BASELINE, COLOURS, MUTED, STYLE, percent_limits, place_labels, save, sheet
from headstart.zoo.rows import Row, frontier
from headstart.zoo.tables import COSTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        for axes, cost, known in drawn:  # when all axes have their place
            named = known if len(known) <= LABELLED else frontier(known, cost)
            spots = [(row.values[cost], row.values["top1"]) for row in known]
            place_labels(axes, [(row.values[cost], row.values["top1"], row.model) for row in named], spots)
        return save(figure, path)


def _known(rows: Sequence[Row], cost: str) -> list[Row]:
    return [row for row in rows if row.known("top1") is not None and (row.known(cost) or 0.0) > 0]


def _panel(axes: Axes, cost: str, rows: Sequence[Row]) -> None:
    best = frontier(rows, cost)
    costs = [row.values[cost] for row in rows]
    others = [row for row in rows if row not in best]
    low, high = min(costs) / 1.35, max(costs) * 1.35
    steps = [*((row.values[cost], row.values["top1"]) for row in best), (high, best[-1].values["top1"])]
    axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color=COLOURS[0], linewidth=1.4, zorder=2)
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


def _ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    steps = [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]
    steps = [step for step in steps if low <= step <= high] or [low, high]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
