"""Learning curves of a study's rows: validation accuracy by epoch, over phases and seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group, natural
from headstart.report.study import Run
from headstart.report.style import Palette, percent_limits, spread_out
from headstart.tracking.plot_style import MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 15


@dataclass(frozen=True)
class Curve:
    """One run's validation accuracy in 0..1: by epoch (1, 2, ... through all phases; 0 is a probe before
    them).

    `begins` are the epochs after which a further phase starts; `probe` is set when there are no epochs at
    all.
    """

    by_epoch: dict[int, float]
    begins: list[int]
    probe: float | None


def read_curve(run: Run) -> Curve | None:
    """A run's curve from metrics.csv, or None where it holds no validation accuracy.

    A row without an epoch, or of a phase that the config gives a probe, is a probe's; a row written twice
    counts once.
    """
    phases: dict[str, dict[float, float | None]] = {}
    fitted: dict[str, float] = {}
    try:
        rows = run.rows("metrics.csv")
    except OSError:
        return None
    for row in rows:
        phase, accuracy = row.get("phase", ""), _number(row.get("val_accuracy", ""))
        epoch = _number(row.get("epoch", ""))
        if epoch is None or (run.config or {}).get(f"strategy.phases.{phase}.probe._target_"):
            if accuracy is not None:
                fitted[phase] = accuracy
        else:
            phases.setdefault(phase, {})[epoch] = accuracy
    by_epoch: dict[int, float] = {}
    begins: list[int] = []
    done = 0
    for epochs in phases.values():
        if done:
            begins.append(done)
        for rank, epoch in enumerate(sorted(epochs), start=done + 1):
            accuracy = epochs[epoch]
            if accuracy is not None:
                by_epoch[rank] = accuracy
        done += len(epochs)
    last = next(reversed(fitted.values()), None) if fitted else None
    if not by_epoch:
        return None if last is None else Curve({}, [], last)
    if last is not None:
        by_epoch[0] = last
    return Curve(dict(sorted(by_epoch.items())), begins, None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def panels(comparison: Comparison) -> dict[str, list[Group]]:
    """The groups by panel: one per task, and per model where a task has many rows; best first, at most 15 of
    them.
    """
    found: dict[str, list[Group]] = {}
    for task, rows in comparison.tasks().items():
        models = sorted({row.model for row in rows}, key=natural)
        if len(rows) <= 8 or len(models) == 1:
            found[task] = rows
        else:
            found |= {f"{task} · {model}": [row for row in rows if row.model == model] for model in models}
    return {
        title if len(rows) <= MOST_LINES else f"{title}, best {MOST_LINES} of {len(rows)}": rows[:MOST_LINES]
        for title, rows in found.items()
    }


def draw_curves(comparison: Comparison, palette: Palette, path: Path) -> tuple[Path | None, list[str]]:
    """Draw every panel; return the file (None where no run has a curve) and the runs without one."""
    read = {run.name: read_curve(run) for group in comparison.groups for run in group.runs}
    without = [name for name, curve in read.items() if curve is None]
    shown = {
        title: known
        for title, rows in panels(comparison).items()
        if (known := [(row, curves) for row in rows if (curves := [c for run in row.runs if (c := read[run.name])])])
    }
    if not shown:
        return None, without
    across = 1 if len(shown) == 1 else 2
    down = -(-len(shown) // across)
    most = max(len(rows) for rows in shown.values())
    figure = sheet(8.6, max(4.6, 1.2 + 0.24 * most) if across == 1 else 3.4 * down + 0.5)
    for place, (title, rows) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(down, across, place)
        ends = draw_panel(axes, rows, palette)
        if across == 1:
            _label_ends(axes, [comparison.label(row, within_task=True) for row, _ in rows], rows, ends, palette)
        else:
            axes.set_title(title)
            settings = [comparison.settings(row) for row, _ in rows]
            _label_ends(axes, settings, rows, ends, palette)
    if across > 1:
        palette.legend(figure)
    return save(figure, path), without


def draw_panel(axes: Axes, rows: list[tuple[Group, list[Curve]]], palette: Palette) -> list[tuple[float, float]]:
    """Draw one panel and return where each line ends."""
    from matplotlib.ticker import MaxNLocator

    last = max([epoch for _, curves in rows for curve in curves for epoch in curve.by_epoch], default=1)
    ends: list[tuple[float, float]] = []
    values: list[float] = []
    for row, curves in rows:
        colour = palette.colour(row)
        probes = [100 * curve.probe for curve in curves if curve.probe is not None]
        live = [curve for curve in curves if curve.probe is None]
        ends.append(
            _draw_live(axes, live, colour, palette.mark(row)) if live else _draw_probe(axes, probes, last, colour)
        )
        values += probes + [100 * value for curve in live for value in curve.by_epoch.values()]
    axes.set_ylim(*percent_limits(values))
    start = 0 if any(0 in curve.by_epoch for _, curves in rows for curve in curves) else 1
    axes.set_xlim(start - 0.02 * last, max(last, start + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("epoch, through all phases", color=MUTED)
    axes.set_ylabel("validation accuracy, %", color=MUTED)
    return ends


def _draw_live(axes: Axes, curves: list[Curve], colour: str, mark: str) -> tuple[float, float]:
    common = sorted(set.intersection(*(set(curve.by_epoch) for curve in curves)))
    means = [100 * math.fsum(curve.by_epoch[epoch] for curve in curves) / len(curves) for epoch in common]
    for curve in curves:
        rest = [epoch for epoch in curve.by_epoch if not common or epoch >= common[-1]]
        if len(rest) > 1:
            axes.plot(rest, [100 * curve.by_epoch[epoch] for epoch in rest], color=colour, linewidth=0.9, alpha=0.5)
    if not common:
        longest = max(curves, key=lambda curve: max(curve.by_epoch))
        return max(longest.by_epoch), 100 * longest.by_epoch[max(longest.by_epoch)]
    if len(curves) > 1:
        columns = [[100 * curve.by_epoch[epoch] for curve in curves] for epoch in common]
        bounds = [min(column) for column in columns], [max(column) for column in columns]
        axes.fill_between(common, *bounds, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(common, means, color=colour, linewidth=1.9, zorder=3)
    if len(common) <= 30:
        axes.plot(common, means, mark, color=colour, markersize=4, zorder=3)
    starts = [epoch for epoch in {*curves[0].begins, *([0] if 0 in common else [])} if epoch in common]
    heights = [means[common.index(epoch)] for epoch in starts]
    axes.plot(starts, heights, "o", color=colour, markerfacecolor="white", markersize=7, zorder=4)
    return common[-1], means[-1]


def _draw_probe(axes: Axes, values: list[float], last: int, colour: str) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    if len(values) > 1:
        axes.axhspan(min(values), max(values), color=colour, alpha=0.12, linewidth=0, zorder=1)
    axes.axhline(mean, color=colour, linewidth=1.7, linestyle=(0, (5, 2.5)), zorder=3)
    return last, mean


def _label_ends(
    axes: Axes,
    labels: list[str],
    rows: list[tuple[Group, list[Curve]]],
    ends: list[tuple[float, float]],
    palette: Palette,
) -> None:
    """Name each line at the right edge, tied to its end by a thin line of its colour; empty labels are left
    out.
    """
    named = [place for place, label in enumerate(labels) if label]
    low, high = axes.get_ylim()
    figure = axes.get_figure()
    assert figure is not None
    height = figure.get_figure(root=True).get_size_inches()[1] * axes.get_position().height
    heights = spread_out([ends[place][1] for place in named], 0.2 / height * (high - low), low, high)
    beside = axes.get_yaxis_transform()
    right = axes.get_xlim()[1]
    for place, y in zip(named, heights, strict=True):
        (stop, level), colour = ends[place], palette.colour(rows[place][0])
        if stop < right:
            axes.plot([stop, right], [level, level], color=colour, linewidth=0.7, linestyle=":", zorder=1)
        axes.plot([1.0, 1.035], [level, y], color=colour, linewidth=1.2, transform=beside, clip_on=False)
        axes.text(1.045, y, labels[place], transform=beside, va="center", fontsize=9.5)
