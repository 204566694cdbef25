"""The metric against what it costs, and the best row for each budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group
from headstart.report.metric import Metric
from headstart.report.style import Palette, percent_limits, place_labels
from headstart.report.worth import SECONDS, Budget, frontier
from headstart.tracking.plot_style import INK, MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600 * hours for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)


def reach(group: Group) -> list[float]:
    """A row's scores and the ends of its interval, where there can be any: what a plot must have room for."""
    found, most = group.score, 1.0 if group.metric.share else float("inf")
    ends = (
        []
        if found.interval is None
        else [max(0.0, found.mean - found.interval), min(most, found.mean + found.interval)]
    )
    return [run.score for run in group.runs] + ends


def score_limits(metric: Metric, values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits around values of a metric as they are drawn; those of a share are percent."""
    if metric.share:
        return percent_limits(values, margin)
    low, high = min(values), max(values)
    room = max(margin * (high - low), 0.02)
    return max(0.0, low - room), high + room


def draw_cost(comparison: Comparison, palette: Palette, budget: Budget, path: Path) -> Path | None:
    """Draw the metric against a cost with the frontier of the best rows, a panel per task; None if no row has any."""
    tasks = {
        task: known for task, rows in comparison.tasks().items() if (known := [row for row in rows if budget.of(row)])
    }
    if not tasks:
        return None
    across = min(len(tasks), 2)
    down = -(-len(tasks) // across)
    alone = (8.6, 4.9) if budget is SECONDS else (5.6, 4.4)
    figure = sheet(*alone) if across == 1 else sheet(8.6, 3.4 * down + 0.5)
    panels = [figure.add_subplot(down, across, place + 1) for place in range(len(tasks))]
    if across > 1:
        palette.legend(figure)
    for axes, (task, rows) in zip(panels, tasks.items(), strict=True):
        _panel(axes, rows, palette, budget)
        if across > 1:
            axes.set_title(task)
    for axes, rows in zip(panels, tasks.values(), strict=True):
        names = [comparison.settings(row) if across > 1 else comparison.label(row, within_task=True) for row in rows]
        spots = [(_cost(row, budget), row.metric.scale * row.score.mean) for row in rows]
        taken = spots + list(_along(frontier(rows, budget), axes.get_xlim()[1]))
        place_labels(axes, [(*spot, name) for spot, name in zip(spots, names, strict=True) if name], taken)
    return save(figure, path)


def _cost(group: Group, budget: Budget) -> float:
    found = budget.of(group)
    assert found is not None
    return found


def _panel(axes: Axes, rows: Sequence[Group], palette: Palette, budget: Budget) -> None:
    scale = rows[0].metric.scale
    for row in rows:
        colour, found = palette.colour(row), row.score
        x, y = _cost(row, budget), scale * found.mean
        if found.interval is not None:
            ends = [y - scale * found.interval, y + scale * found.interval]
            axes.plot([x, x], ends, color=colour, linewidth=5, alpha=0.28, solid_capstyle="butt", zorder=2)
            axes.plot(
                [budget.value(run) or x for run in row.runs],
                [scale * run.score for run in row.runs],
                ".",
                color=colour,
                markersize=6,
                markeredgewidth=0,
                alpha=0.6,
                zorder=3,
            )
        axes.plot([x], [y], palette.mark(row), color=colour, markersize=9, markeredgecolor="white", zorder=4)
    _axes(axes, rows, budget)
    best = frontier(list(rows), budget)
    right = axes.get_xlim()[1]
    axes.step(
        [*(cost for cost, _ in best), right],
        [scale * row.score.mean for _, row in [*best, best[-1]]],
        where="post",
        color=INK,
        linewidth=1.1,
        alpha=0.55,
        zorder=1.5,
    )


def _along(best: Sequence[tuple[float, Group]], right: float) -> Iterator[tuple[float, float]]:
    """Places on the frontier's line, for labels to keep off."""
    for place, (cost, row) in enumerate(best):
        scale = row.metric.scale
        y, end = scale * row.score.mean, best[place + 1][0] if place + 1 < len(best) else right
        yield from ((cost * (end / cost) ** (step / 40), y) for step in range(41))
        if place + 1 < len(best):
            above = scale * best[place + 1][1].score.mean
            yield from ((end, y + (above - y) * step / 20) for step in range(21))


def _axes(axes: Axes, rows: Sequence[Group], budget: Budget) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    metric = rows[0].metric
    costs = [cost for row in rows for run in row.runs if (cost := budget.value(run))]
    axes.set_xscale("log")
    low, high = min(costs) / 1.6, max(costs) * 1.6
    axes.set_xlim(low, high)
    axes.set_ylim(*score_limits(metric, [metric.scale * value for row in rows for value in reach(row)], margin=0.1))
    write: Callable[[float], str] = _clock if budget is SECONDS else lambda value: budget.write(value).replace(".0", "")
    steps = [step for step in (TIME_STEPS if budget is SECONDS else _decades(low, high)) if low <= step <= high]
    axes.xaxis.set_major_locator(FixedLocator(steps[:: -(-len(steps) // 7)] if steps else [low, high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axes.grid(axis="both")
    axes.tick_params(length=0)
    axes.set_xlabel(f"{budget.axis} (log scale)", color=MUTED)
    axes.set_ylabel(metric.axis, color=MUTED)


def _decades(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if high / low < 100 else (1,)
    return [step * 10.0**power for power in range(-6, 16) for step in steps]


def _clock(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"
