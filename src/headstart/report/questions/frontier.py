"""Accuracy against cost, with what nothing cheaper reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.charts.scatter import draw_scatter, find_limits, greyed, is_log
from headstart.report.questions.figure import Figure, known, name_of, number_of, percent
from headstart.report.questions.scatter import COSTS, number_kind
from headstart.report.stats import pareto
from headstart.report.study.groups import Comparison, Group
from headstart.tracking.plot_style import COLOURS


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

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        if len(comparison.tasks()) > 1:
            raise LookupError("rows of several data sets or sizes have no frontier in common")
        charts, told = [], []
        for cost in self.x:
            best = frontier(comparison.groups, cost)
            charts.append(self._panel(comparison, cost, best))
            named = ", ".join(self.shown(name_of(row, self.label)) for row in best)
            told.append(f"With fewer {COSTS.get(cost, cost)} nothing is as accurate as: {named}.")
        return charts, " ".join(told)

    def _panel(self, comparison: Comparison, cost: str, best: Sequence[Group]) -> Any:
        rows = comparison.groups
        high = [row for row in rows if 100 * row.accuracy.mean >= self.lowest] or rows
        points: list[dict[str, Any]] = []
        for row in rows:
            name, facts = self.shown(name_of(row, self.label)), percent(row.accuracy)
            if row not in high:  # at the axis' foot, with its number
                facts, tag = {"y": self.lowest, "low": None, "high": None}, f"↓ {name} {100 * row.accuracy.mean:.1f}"
            else:
                tag = name
            own = {"row": number_of(comparison, row), "label": name, "x": known(row, cost).mean, "tag": tag}
            points.append(own | facts)
        points.sort(key=lambda point: point["label"] in {self.shown(name_of(row, self.label)) for row in best})
        names = [self.shown(name_of(row, self.label)) for row in rows]
        looks = greyed(names, [self.shown(name_of(row, self.label)) for row in best], COLOURS[0])
        log = is_log([point["x"] for point in points])
        limits = find_limits(points, log)
        corners = [(known(row, cost).mean, 100 * row.accuracy.mean) for row in best if row in high]
        front = [*corners, (limits[0][1], corners[-1][1])] if corners else []
        titles = (COSTS.get(cost, cost), "test accuracy, %")
        return draw_scatter(
            points,
            titles,
            looks,
            front=front,
            limits=limits,
            log=log,
            panels=len(self.x),
            legend=False,
            number=number_kind(cost),
        )
