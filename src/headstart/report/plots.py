"""Draw a comparison: accuracy, accuracy against cost, learning curves, confusion matrices."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.confusion import draw_confusions
from headstart.report.cost import draw_cost, reach, score_limits
from headstart.report.curves import draw_curves
from headstart.report.groups import Comparison, Group
from headstart.report.questions import figures_asked_for
from headstart.report.sections import Picture, Section
from headstart.report.style import Palette
from headstart.report.worth import BUDGETS, SECONDS, tells
from headstart.tracking.plot_style import save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)


def question_sections(comparison: Comparison, folder: Path) -> list[Section]:
    """The plots that the study's own question asks for."""
    return [figure.draw(comparison, folder / f"{name}.png") for name, figure in figures_asked_for(comparison).items()]


def accuracy_section(comparison: Comparison, palette: Palette, folder: Path) -> Section:
    """The metric of every row, with intervals and seeds."""
    metric = comparison.metric
    path = draw_accuracy(comparison, palette, folder / f"{metric.name}.png")
    caption = (
        f"Each row's large mark is its mean test {metric.title}, the bar its 95 % interval (none for one seed), and"
        " each small dot below it one seed."
    )
    title = metric.title[0].upper() + metric.title[1:]
    return Section(title, caption, [Picture(path, f"Test {metric.title} of each row with intervals and single seeds")])


def cost_pictures(comparison: Comparison, palette: Palette, folder: Path) -> list[Picture]:
    """The metric against time, multiply-adds of training and trained parameters, as far as they are known."""
    tasks = comparison.tasks()
    alone = len(tasks) == 1
    pictures = []
    for budget in BUDGETS:
        if budget is not SECONDS and not any(tells(rows, budget) for rows in tasks.values()):
            continue
        path = draw_cost(comparison, palette, budget, folder / f"{comparison.metric.name}_vs_{budget.name}.png")
        if path is not None:
            alt = f"Test {comparison.metric.title} against {budget.axis}, logarithmic axis"
            pictures.append(Picture(path, alt, wide=budget is SECONDS or not alone))
    return pictures


def curves_section(comparison: Comparison, palette: Palette, folder: Path) -> Section:
    """Validation accuracy by epoch."""
    path, without = draw_curves(comparison, palette, folder / "learning_curves.png")
    missing = f" Without a readable metrics.csv: {', '.join(without)}." if without else ""
    if path is None:
        return Section("Learning curves", f"No run recorded validation accuracy by epoch.{missing}", [])
    caption = (
        "Lines are mean validation accuracy after each epoch, bands reach from the lowest to the highest"
        " seed, phases follow each other (a hollow mark where one begins), and a dashed level is a fitted"
        " probe, which has no epochs."
    )
    return Section("Learning curves", caption + missing, [Picture(path, "Validation accuracy by epoch")])


def confusion_section(comparison: Comparison, folder: Path) -> Section:
    """Which classes each row takes for which."""
    drawn, missing = draw_confusions(comparison, folder)
    pictures = [Picture(path, f"Confusion matrix of {label}", caption) for path, label, caption in drawn]
    note = f" {missing}" if missing else ""
    if not pictures:
        return Section("Confusion matrices", f"No run left readable predictions.{note}", [])
    caption = (
        "Rows are true classes, columns predicted ones; each row adds up to 100 % over all seeds' test"
        " images, so a perfect model is dark on the diagonal only."
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
    metric = comparison.metric
    values = [metric.scale * value for _, group in places for value in reach(group)]
    low, high = score_limits(metric, values)
    axes.set_xlim(low, high)
    axes.set_ylim(max(y for y, _ in places) + 0.6, -0.6)
    axes.set_yticks([y for y, _ in places], [comparison.label(group, within_task=True) for _, group in places])
    axes.tick_params(axis="y", length=0)
    for y, task in titles:
        axes.text(low, y, f" {task}", weight="bold", va="center", fontsize=10)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(metric.axis)
    for y, group in places:
        axes.annotate(
            metric.number(group.score.mean),
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
        )
    return save(figure, path)


def _accuracy_row(axes: Axes, y: float, group: Group, palette: Palette) -> None:
    colour, found, scale = palette.colour(group), group.score, group.metric.scale
    if found.interval is not None:
        ends = [scale * (found.mean - found.interval), scale * (found.mean + found.interval)]
        axes.plot(ends, [y, y], color=colour, linewidth=7, alpha=0.28, solid_capstyle="butt", zorder=2)
        seeds = [scale * run.score for run in group.runs]
        axes.plot(seeds, [y + 0.29] * len(seeds), ".", color=colour, markersize=6, markeredgewidth=0, zorder=3)
    axes.plot(
        [scale * found.mean],
        [y],
        palette.mark(group),
        color=colour,
        markersize=9,
        markeredgecolor="white",
        zorder=4,
    )
