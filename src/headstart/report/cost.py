"""Accuracy against what it costs in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group
from headstart.report.style import MUTED, Palette, percent_limits, place_labels, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600 * hours for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)


def reach(group: Group) -> list[float]:
    """A row's accuracies and the ends of its interval, within 0..1: what a plot must have room for."""
    found = group.accuracy
    ends = (
        [] if found.interval is None else [max(0.0, found.mean - found.interval), min(1.0, found.mean + found.interval)]
    )
    return [run.accuracy for run in group.runs] + ends


def draw_cost(comparison: Comparison, palette: Palette, path: Path) -> Path | None:
    """Draw accuracy against seconds, a panel per task; None where no group knows its seconds."""
    tasks = {
        task: known for task, rows in comparison.tasks().items() if (known := [row for row in rows if _seconds(row)])
    }
    if not tasks:
        return None
    across = min(len(tasks), 2)
    down = -(-len(tasks) // across)
    figure = sheet(8.6, 4.9 if across == 1 else 3.4 * down + 0.5)
    panels = [figure.add_subplot(down, across, place + 1) for place in range(len(tasks))]
    if across > 1:
        palette.legend(figure)
    for axes, (task, rows) in zip(panels, tasks.items(), strict=True):
        _cost_panel(axes, rows, palette)
        if across > 1:
            axes.set_title(task)
    for axes, rows in zip(panels, tasks.values(), strict=True):
        names = [comparison.settings(row) if across > 1 else comparison.label(row, within_task=True) for row in rows]
        spots = [(_mean_seconds(row), 100 * row.accuracy.mean) for row in rows]
        place_labels(axes, [(*spot, name) for spot, name in zip(spots, names, strict=True) if name], spots)
    return save(figure, path)


def _seconds(group: Group) -> bool:
    found = group.over_runs(lambda run: run.seconds)
    return found is not None and all((run.seconds or 0) > 0 for run in group.runs)


def _mean_seconds(group: Group) -> float:
    found = group.over_runs(lambda run: run.seconds)
    assert found is not None
    return found.mean


def _cost_panel(axes: Axes, rows: Sequence[Group], palette: Palette) -> None:
    for row in rows:
        colour, found = palette.colour(row.strategy), row.accuracy
        x, y = _mean_seconds(row), 100 * found.mean
        if found.interval is not None:
            ends = [y - 100 * found.interval, y + 100 * found.interval]
            axes.plot([x, x], ends, color=colour, linewidth=5, alpha=0.28, solid_capstyle="butt", zorder=2)
            axes.plot(
                [run.seconds or 0.0 for run in row.runs],
                [100 * run.accuracy for run in row.runs],
                ".",
                color=colour,
                markersize=6,
                markeredgewidth=0,
                alpha=0.6,
                zorder=3,
            )
        axes.plot([x], [y], palette.mark(row), color=colour, markersize=9, markeredgecolor="white", zorder=4)
    _cost_axes(axes, rows)


def _cost_axes(axes: Axes, rows: Sequence[Group]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    seconds = [run.seconds or 0.0 for row in rows for run in row.runs]
    axes.set_xscale("log")
    low, high = min(seconds) / 1.6, max(seconds) * 1.6
    axes.set_xlim(low, high)
    axes.set_ylim(*percent_limits([100 * value for row in rows for value in reach(row)], margin=0.1))
    steps = [step for step in TIME_STEPS if low <= step <= high]
    axes.xaxis.set_major_locator(FixedLocator(steps[:: -(-len(steps) // 7)] or [low, high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _clock(value)))
    axes.grid(axis="both")
    axes.tick_params(length=0)
    axes.set_xlabel("time with a cold cache (log scale)", color=MUTED)
    axes.set_ylabel("test accuracy, %", color=MUTED)


def _clock(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"
