"""Test accuracy against what it costs, and what nothing cheaper reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report.charts.scatter import draw_scatter, find_limits, greyed, is_log
from headstart.report.charts.theme import Looks, colour_names
from headstart.report.questions.figure import Figure, known, name_of, number_of, percent, series
from headstart.report.stats.worth import pareto_front
from headstart.report.study.groups import Comparison, Group
from headstart.tracking.plot_style import COLOURS

COSTS = {
    "params.total": "parameters",
    "params.trainable": "parameters that learned",
    "gmacs": "GMACs per image",
    "ms_per_image": "ms per image on this machine",
    "seconds": "seconds with a cold cache",
    "seconds.fit": "seconds of training",
    "seconds.total": "seconds in all",
}
NUMBERS = {"seconds": "seconds", "gmacs": "gmacs", "params": "count"}  # how an axis writes a cost, by how it begins


@dataclass(eq=False)
class Scatter(Figure):
    """Test accuracy against one or more costs, a panel each.

    Args:
        x: dotted paths in `result.json`, such as `params.total`, `gmacs`, `ms_per_image`; or `seconds`.
        by: keys whose values share a colour; `label`: those that name a point.
        connect: draw a line through the points of a colour, in the order of the cost.
    """

    x: Sequence[str]
    by: Sequence[str]
    label: Sequence[str] = ()
    connect: bool = False

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        found = series(comparison, self.by)
        looks = colour_names([self.shown(name) for name in found])
        legend = list(self.label) != list(self.by)
        charts = []
        for cost in self.x:
            points = [
                _place(comparison, row, cost, self.shown(name), self.shown(name_of(row, self.label)))
                for name, rows in found.items()
                for row in rows
            ]
            charts.append(_draw(points, cost, looks, panels=len(self.x), legend=legend, connect=self.connect))
        return charts, ""


@dataclass(eq=False)
class Frontier(Figure):
    """Test accuracy against one or more costs, a panel each: what nothing cheaper reaches is joined, the rest is grey.

    Args:
        x: dotted paths in `result.json`, or `seconds`, which are those with a cold cache.
        label: keys whose values name a point.
        lowest: the least accuracy of the axis, in %; rows below it are an arrow at its foot, with their number.
    """

    x: Sequence[str]
    label: Sequence[str] = ("strategy",)
    lowest: float = 0.0

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        if len(comparison.tasks()) > 1:
            raise LookupError("rows of several data sets or sizes have no frontier in common")
        charts, told = [], []
        for cost in self.x:
            best = frontier(comparison.groups, cost)
            charts.append(self._panel(comparison, cost, best))
            told.append(
                f"With fewer {COSTS.get(cost, cost)} nothing is as accurate as: {', '.join(self._names(best))}."
            )
        return charts, " ".join(told)

    def _names(self, rows: Sequence[Group]) -> list[str]:
        return [self.shown(name_of(row, self.label)) for row in rows]

    def _panel(self, comparison: Comparison, cost: str, best: Sequence[Group]) -> Any:
        rows = comparison.groups
        high = [row for row in rows if 100 * row.accuracy.mean >= self.lowest] or rows
        names, bright = self._names(rows), self._names(best)
        points = []
        for name, row in zip(names, rows, strict=True):
            point = _place(comparison, row, cost, name, name)
            if row not in high:  # at the axis' foot, with its number
                tag = f"↓ {name} {100 * row.accuracy.mean:.1f}"
                point |= {"y": self.lowest, "low": None, "high": None, "tag": tag}
            points.append(point)
        points.sort(key=lambda point: point["label"] in bright)
        limits = find_limits(points, is_log([point["x"] for point in points]))
        corners = [(known(row, cost).mean, 100 * row.accuracy.mean) for row in best if row in high]
        front = [*corners, (limits[0][1], corners[-1][1])] if corners else []
        looks = greyed(names, bright, COLOURS[0])
        return _draw(points, cost, looks, panels=len(self.x), legend=False, front=front, limits=limits)


def frontier(rows: Sequence[Group], cost: str) -> list[Group]:
    """The rows that are more accurate than all that cost as much or less, cheapest first."""
    found = pareto_front(rows, lambda row: known(row, cost).mean, lambda row: row.accuracy.mean)
    return [row for _, row in found]


def _place(comparison: Comparison, row: Group, cost: str, label: str, tag: str) -> dict[str, Any]:
    """A row as a point of accuracy against a cost."""
    facts = {"row": number_of(comparison, row), "label": label, "x": known(row, cost).mean, "tag": tag}
    return facts | percent(row.accuracy)


def _draw(points: Sequence[dict[str, Any]], cost: str, looks: Looks, **options: Any) -> Any:
    titles, kind = (COSTS.get(cost, cost), "test accuracy, %"), NUMBERS.get(cost.partition(".")[0], "plain")
    return draw_scatter(points, titles, looks, log=is_log([point["x"] for point in points]), number=kind, **options)
