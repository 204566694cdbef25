"""Accuracy against cost, with what nothing cheaper reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report import pareto
from headstart.report.groups import Comparison, Group
from headstart.report.questions.figure import Figure, known, name_of, with_error
from headstart.report.questions.scatter import COSTS, along, cost_axis, neighbours
from headstart.report.style import place_labels
from headstart.tracking.plot_style import BASELINE, COLOURS, MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def frontier(rows: Sequence[Group], cost: str) -> list[Group]:
    """The rows that are more accurate than all that cost as much or less, cheapest first."""
    found = pareto.frontier(rows, lambda row: known(row, cost).mean, lambda row: row.accuracy.mean)
    return [row for _, row in found]


class Frontier(Figure):
    """Test accuracy against one or more costs, a panel each: what nothing cheaper reaches is joined, the rest is grey.

    Args:
        x: dotted paths in `result.json`, or `seconds`, which are those with a cold cache.
        label: keys whose values name a point.
        lowest: the least accuracy of the axis, in %; rows below it are an arrow at its foot, with their number.
    """

    def __init__(
        self,
        title: str,
        x: Sequence[str],
        label: Sequence[str] = ("strategy",),
        lowest: float = 0.0,
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.x, self.label, self.lowest = x, label, lowest

    def fill(self, comparison: Comparison, path: Path) -> str:
        if len(comparison.tasks()) > 1:
            raise LookupError("rows of several data sets or sizes have no frontier in common")
        figure = sheet(max(6.0, 5.8 * len(self.x)), 5.4)
        told = []
        for place, cost in enumerate(self.x, start=1):
            axes = figure.add_subplot(1, len(self.x), place)
            best = frontier(comparison.groups, cost)
            self._panel(axes, cost, comparison.groups, best)
            named = ", ".join(self.shown(name_of(row, self.label)) for row in best)
            told.append(f"With fewer {COSTS.get(cost, cost)} nothing is as accurate as: {named}.")
        figure.axes[0].set_ylabel("test accuracy, %", color=MUTED)
        save(figure, path)
        return " ".join(told)

    def _panel(self, axes: Axes, cost: str, rows: Sequence[Group], best: Sequence[Group]) -> None:
        costs = {id(row): known(row, cost).mean for row in rows}
        high = [row for row in rows if 100 * row.accuracy.mean >= self.lowest] or list(rows)
        for row in sorted(high, key=lambda row: row in best):  # the best on top of their equals
            with_error(axes, costs[id(row)], row.accuracy, COLOURS[0] if row in best else BASELINE)
        joined = [row for row in best if row in high]
        steps = [(costs[id(row)], 100 * row.accuracy.mean) for row in joined]
        axes.plot([x for x, _ in steps], [y for _, y in steps], color=COLOURS[0], linewidth=1.4, alpha=0.6, zorder=3)
        cost_axis(axes, cost, list(costs.values()))
        axes.margins(y=0.08)
        foot = self.lowest if len(high) < len(rows) else axes.get_ylim()[0]
        axes.set_ylim(bottom=foot)
        points = [(costs[id(row)], 100 * row.accuracy.mean, self.shown(name_of(row, self.label))) for row in high]
        for row in rows:
            if row not in high:
                x, y = costs[id(row)], foot + 0.02 * (axes.get_ylim()[1] - foot)
                axes.plot([x], [y], "v", color=BASELINE, markersize=8, markeredgecolor="white", zorder=4)
                points.append((x, y, f"{self.shown(name_of(row, self.label))} {100 * row.accuracy.mean:.1f}"))
        taken = [(x, y) for x, y, _ in points]
        taken += [place for ends in neighbours([joined], cost) for place in along(*ends)]
        place_labels(axes, points, taken)
