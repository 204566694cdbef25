"""Test accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.charts.scatter import draw_scatter, is_log
from headstart.report.charts.theme import colour_names
from headstart.report.questions.figure import Figure, known, name_of, number_of, percent, series
from headstart.report.study.groups import Comparison

COSTS = {
    "params.total": "parameters",
    "params.trainable": "parameters that learned",
    "gmacs": "GMACs per image",
    "ms_per_image": "ms per image on this machine",
    "seconds": "seconds with a cold cache",
    "seconds.fit": "seconds of training",
    "seconds.total": "seconds in all",
}


class Scatter(Figure):
    """Test accuracy against one or more costs, a panel each.

    Args:
        x: dotted paths in `result.json`, such as `params.total`, `gmacs`, `ms_per_image`; or `seconds`.
        by: keys whose values share a colour; `label`: those that name a point.
        connect: draw a line through the points of a colour, in the order of the cost.
    """

    def __init__(
        self,
        title: str,
        x: Sequence[str],
        by: Sequence[str],
        label: Sequence[str] = (),
        connect: bool = False,
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.x, self.by, self.label, self.connect = x, by, label, connect

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        found = series(comparison, self.by)
        looks = colour_names([self.shown(name) for name in found])
        charts = []
        for cost in self.x:
            points: list[dict[str, Any]] = [
                {
                    "row": number_of(comparison, row),
                    "label": self.shown(name),
                    "x": known(row, cost).mean,
                    "tag": self.shown(name_of(row, self.label)),
                    **percent(row.accuracy),
                }
                for name, rows in found.items()
                for row in rows
            ]
            titles = (COSTS.get(cost, cost), "test accuracy, %")
            legend = list(self.label) != list(self.by)
            log = is_log([point["x"] for point in points])
            charts.append(
                draw_scatter(
                    points,
                    titles,
                    looks,
                    connect=self.connect,
                    log=log,
                    panels=len(self.x),
                    legend=legend,
                    number=number_kind(cost),
                )
            )
        return charts, ""


def number_kind(cost: str) -> str:
    """How an axis writes a cost."""
    return (
        "seconds"
        if cost.startswith("seconds")
        else "gmacs"
        if cost == "gmacs"
        else "count"
        if cost.startswith("params")
        else "plain"
    )
