"""Draw a comparison: accuracy, accuracy against cost, learning curves, confusion matrices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.confusion import draw_confusions
from headstart.report.curves import draw_curves
from headstart.report.groups import Comparison, Group
from headstart.report.style import MUTED, STYLE, Palette, percent_limits, place_labels, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """One PNG file, what it shows (for those who cannot see it), and its own caption where it needs one."""

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading of the page, one sentence on how to read what stands under it, and its pictures."""

    title: str
    caption: str
    pictures: list[Picture]
    small: bool = False


def draw(comparison: Comparison, folder: Path) -> list[Section]:
    """Write every plot of a comparison into a folder and return the page's sections in order."""
    import matplotlib

    palette = Palette(comparison.groups)
    with matplotlib.rc_context(STYLE):
        return [
            _accuracy_section(comparison, palette, folder),
            _cost_section(comparison, palette, folder),
            _curves_section(comparison, palette, folder),
            _confusion_section(comparison, folder),
        ]


def _accuracy_section(comparison: Comparison, palette: Palette, folder: Path) -> Section:
    path = draw_accuracy(comparison, palette, folder / "accuracy.png")
    caption = (
        "Each row's large mark is its mean test accuracy, the bar its 95 % interval (none for one seed), and each small"
        " dot below it one seed."
    )
    return Section(
        "Accuracy", caption, [Picture(path, "Test accuracy of each row with intervals and single seeds")]
    )


def _cost_section(comparison: Comparison, palette: Palette, folder: Path) -> Section:
    path = draw_cost(comparison, palette, folder / "accuracy_vs_seconds.png")
    if path is None:
        return Section("Accuracy against time", "No run says how many seconds it took.", [])
    caption = (
        "Up is more accurate, left is cheaper; time, on a logarithmic axis, is what a run costs with a cold cache, the"
        " bar is the 95 % interval of accuracy, and small dots are single seeds."
    )
    return Section(
        "Accuracy against time", caption, [Picture(path, "Test accuracy against seconds, logarithmic axis")]
    )


def _curves_section(comparison: Comparison, palette: Palette, folder: Path) -> Section:
    path, without = draw_curves(comparison, palette, folder / "learning_curves.png")
    missing = f" Without a readable metrics.csv: {', '.join(without)}." if without else ""
    if path is None:
        return Section("Learning curves", f"No run recorded validation accuracy by epoch.{missing}", [])
    caption = (
        "Lines are mean validation accuracy after each epoch, bands reach from the lowest to the highest seed, phases"
        " follow each other (a hollow mark where one begins), and a dashed level is a fitted probe, which has no epochs."
    )
    return Section("Learning curves", caption + missing, [Picture(path, "Validation accuracy by epoch")])


def _confusion_section(comparison: Comparison, folder: Path) -> Section:
    drawn, missing = draw_confusions(comparison, folder)
    pictures = [Picture(path, f"Confusion matrix of {label}", caption) for path, label, caption in drawn]
    note = f" {missing}" if missing else ""
    if not pictures:
        return Section("Confusion matrices", f"No run left readable predictions.{note}", [])
    caption = (
        "Rows are true classes, columns predicted ones; each row adds up to 100 % over all seeds' test images, so a"
        " perfect model is dark on the diagonal only."
    )
    return Section("Confusion matrices", caption + note, pictures, small=True)


def draw_accuracy(comparison: Comparison, palette: Palette, path: Path) -> Path:
    """Draw a row per group: mean, 95 % interval and seeds, tasks under each other."""
    tasks = comparison.tasks()
    places: list[tuple[float, Group]] = []
    titles: list[tuple[float, str]] = []
    y = 0.0
    for task, rows in tasks.items():
        if len(tasks) > 1:
            titles.append((y, task))
            y += 0.9
        for group in rows:
            places.append((y, group))
            y += 1
        y += 0.35
    figure = sheet(8.6, max(1.9, 0.75 + 0.4 * y))
    axes = figure.add_subplot()
    for y, group in places:
        _accuracy_row(axes, y, group, palette)
    values = [100 * value for _, group in places for value in _reach(group)]
    low, high = percent_limits(values)
    axes.set_xlim(low, high)
    axes.set_ylim(max(y for y, _ in places) + 0.6, -0.6)
    axes.set_yticks(
        [y for y, _ in places], [comparison.label(group, within_task=True) for _, group in places]
    )
    axes.tick_params(axis="y", length=0)
    for y, task in titles:
        axes.text(low, y, f" {task}", weight="bold", va="center", fontsize=10)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test accuracy, %")
    for y, group in places:
        axes.annotate(
            f"{100 * group.accuracy.mean:.1f}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
        )
    return save(figure, path)


def _reach(group: Group) -> list[float]:
    found = group.accuracy
    ends = (
        []
        if found.interval is None
        else [max(0.0, found.mean - found.interval), min(1.0, found.mean + found.interval)]
    )
    return [run.accuracy for run in group.runs] + ends


def _accuracy_row(axes: Axes, y: float, group: Group, palette: Palette) -> None:
    colour, found = palette.colour(group.strategy), group.accuracy
    if found.interval is not None:
        ends = [100 * (found.mean - found.interval), 100 * (found.mean + found.interval)]
        axes.plot(ends, [y, y], color=colour, linewidth=7, alpha=0.28, solid_capstyle="butt", zorder=2)
        seeds = [100 * run.accuracy for run in group.runs]
        axes.plot(
            seeds, [y + 0.29] * len(seeds), ".", color=colour, markersize=6, markeredgewidth=0, zorder=3
        )
    axes.plot(
        [100 * found.mean],
        [y],
        palette.mark(group),
        color=colour,
        markersize=9,
        markeredgecolor="white",
        zorder=4,
    )


def draw_cost(comparison: Comparison, palette: Palette, path: Path) -> Path | None:
    """Draw accuracy against seconds, a panel per task; None where no group knows its seconds."""
    tasks = {
        task: known
        for task, rows in comparison.tasks().items()
        if (known := [row for row in rows if _seconds(row)])
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
        names = [
            comparison.settings(row) if across > 1 else comparison.label(row, within_task=True)
            for row in rows
        ]
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
    axes.set_ylim(*percent_limits([100 * value for row in rows for value in _reach(row)], margin=0.1))
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


TIME_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600 * hours for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)
