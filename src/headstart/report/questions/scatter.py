"""Test accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group
from headstart.report.questions.figure import Figure, known, name_of, series, with_error
from headstart.report.style import place_labels
from headstart.tracking.plot_style import COLOURS, MARKS, MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

    def fill(self, comparison: Comparison, path: Path) -> str:
        from matplotlib.lines import Line2D

        colours = series(comparison, self.by)
        figure = sheet(max(5.6, 4.3 * len(self.x)), 4.4)
        panels = [figure.add_subplot(1, len(self.x), place + 1) for place in range(len(self.x))]
        for axes, cost in zip(panels, self.x, strict=True):
            self._panel(axes, cost, colours)
        panels[0].set_ylabel("test accuracy, %", color=MUTED)
        if len(colours) > 1 and list(self.label) != list(self.by):
            keys = [
                Line2D(
                    [], [], color=COLOURS[rank % len(COLOURS)], marker=MARKS[rank % len(MARKS)], label=self.shown(name)
                )
                for rank, name in enumerate(colours)
            ]
            figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 5), frameon=False, fontsize=9.5)
        save(figure, path)
        return ""

    def _panel(self, axes: Axes, cost: str, colours: Mapping[str, Sequence[Group]]) -> None:
        points = []
        for rank, rows in enumerate(colours.values()):
            colour = COLOURS[rank % len(COLOURS)]
            spots = sorted(((known(row, cost).mean, row) for row in rows), key=lambda spot: spot[0])
            for x, row in spots:
                with_error(axes, x, row.accuracy, colour, MARKS[rank % len(MARKS)])
                points.append((x, 100 * row.accuracy.mean, self.shown(name_of(row, self.label))))
            if self.connect:
                heights = [100 * row.accuracy.mean for _, row in spots]
                axes.plot([x for x, _ in spots], heights, color=colour, linewidth=1.4, alpha=0.7, zorder=3)
        cost_axis(axes, cost, [x for x, _, _ in points])
        drawn = neighbours(colours.values(), cost) if self.connect else ()
        taken = [(x, y) for x, y, _ in points] + [place for ends in drawn for place in along(*ends)]
        place_labels(axes, [point for point in points if point[2]], taken)


Spot = tuple[float, float]


def neighbours(lines: Iterable[Sequence[Group]], cost: str) -> Iterator[tuple[Spot, Spot]]:
    """The ends of each piece of the lines that join rows, as cost and percent."""
    for rows in lines:
        spots = sorted((known(row, cost).mean, 100 * row.accuracy.mean) for row in rows)
        yield from pairwise(spots)


def along(start: Spot, end: Spot, pieces: int = 12) -> list[Spot]:
    """Places on a straight piece of line, on a logarithmic axis where costs are above 0; labels keep out of them."""
    (x, y), (to_x, to_y) = start, end
    shares = [step / pieces for step in range(1, pieces)]
    return [(x * (to_x / x) ** share if x > 0 else x + share * (to_x - x), y + share * (to_y - y)) for share in shares]


def cost_axis(axes: Axes, cost: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from headstart.report.columns import count

    axes.grid(axis="both")
    axes.tick_params(length=0)
    axes.set_xlabel(COSTS.get(cost, cost), color=MUTED)
    if min(values) <= 0:
        return
    axes.set_xscale("log")
    low, high = min(values) / 1.5, max(values) * 1.5
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 200 else (1.0,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x).replace(".0", "") if x >= 1000 else f"{x:g}"))
