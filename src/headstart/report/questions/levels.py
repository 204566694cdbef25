"""Test error at each value of a key, beside published errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group, natural
from headstart.report.questions.figure import Figure, legend, name_of, series, value
from headstart.tracking.plot_style import COLOURS, INK, MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Levels(Figure):
    """Test error at each value of a key, in the order of the published errors or of the config, with those beside it.

    Args:
        by: the key; `split`: keys whose values have a colour each.
        order: its values from top to bottom, as text; those not named follow.
        published: percent of error by value, drawn as a hollow diamond; `source` says where it stands.
        data: the data of the published errors; beside rows of other data they have an axis of their own.
    """

    def __init__(
        self,
        title: str,
        by: Sequence[str],
        split: Sequence[str] = (),
        order: Sequence[str] = (),
        published: Mapping[str, float] | None = None,
        source: str = "",
        data: str = "",
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.by, self.split, self.order, self.data = by, split, [str(level) for level in order], data
        self.published, self.source = {str(level): error for level, error in (published or {}).items()}, source

    def fill(self, comparison: Comparison, path: Path) -> str:
        levels = series(comparison, self.by)
        names = [name for name in self.order if name in levels] + [name for name in levels if name not in self.order]
        colours = {name: COLOURS[rank % len(COLOURS)] for rank, name in enumerate(series(comparison, self.split))}
        apart = bool(self.published and self.data) and any(row.data != self.data for row in comparison.groups)
        figure = sheet(8.2, 1.3 + 0.55 * len(names))
        axes = figure.add_subplot(1, 3, (1, 2)) if apart else figure.add_subplot()
        beside = figure.add_subplot(1, 3, 3, sharey=axes) if apart else axes
        for y, name in enumerate(names):
            for rank, row in enumerate(
                sorted(levels[name], key=lambda row: natural(*(value(row, key) for key in self.split)))
            ):
                _level(
                    axes,
                    y + 0.16 * (rank - (len(levels[name]) - 1) / 2),
                    row,
                    colours[name_of(row, self.split) or "all"],
                )
            if name in self.published:
                beside.plot(
                    [self.published[name]], [y], "D", markerfacecolor="white", color=INK, markersize=7, zorder=5
                )
        axes.set_yticks(range(len(names)), [self.shown(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        for panel in dict.fromkeys((axes, beside)):
            panel.grid(axis="x")
            panel.tick_params(length=0, labelleft=panel is axes)
            panel.set_xlabel("test error, %", color=MUTED)
        if apart:
            axes.set_title("here, on " + ", ".join(sorted({row.data for row in comparison.groups})))
            beside.set_title(f"published, on {self.data}")
        named = {self.shown(name): colour for name, colour in colours.items()}
        legend(figure, named if len(colours) > 1 else {}, {} if apart else self.published)
        save(figure, path)
        return f"Hollow diamonds: {self.source}." if self.published else ""


def _level(axes: Axes, y: float, row: Group, colour: str) -> None:
    found, error = row.accuracy, 100 * (1 - row.accuracy.mean)
    if found.interval is not None:
        half = 100 * found.interval
        axes.plot(
            [error - half, error + half], [y, y], color=colour, linewidth=6, alpha=0.28, solid_capstyle="butt", zorder=2
        )
        axes.plot(
            [100 * (1 - run.accuracy) for run in row.runs], [y] * len(row.runs), ".", color=colour, alpha=0.6, zorder=3
        )
    axes.plot([error], [y], "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)
