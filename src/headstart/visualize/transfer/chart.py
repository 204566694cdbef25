"""The picture of what fine-tuning changed: the depths from top to bottom, as images pass them."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from headstart.tracking.plot_style import COLOURS, INK, MUTED, RULE, STYLE, draw_in, save, sheet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from headstart.visualize.transfer.interval import Difference
    from headstart.visualize.transfer.measure import Transfer

WEIGHTS, STATISTICS, ALIKE, ALONE, ONWARD = COLOURS[0], COLOURS[5], INK, COLOURS[2], COLOURS[1]
APART = 0.17  # of two marks of one depth, in rows


def draw(transfer: Transfer, title: str, sentence: str, path: Path) -> Path:
    """Draw three panels: how far tensors moved, how alike outputs are, and what rewinding costs."""
    with draw_in(STYLE):
        rows = len(transfer.changes)
        figure = sheet(12.5, 2.7 + 0.42 * rows)
        figure.suptitle(fill(sentence, 145), x=0.01, ha="left", fontsize=11, weight="bold")
        panels = figure.subplots(1, 3, sharey=True, width_ratios=[1, 0.8, 1.6])
        _draw_distances(panels[0], transfer)
        _draw_alignment(panels[1], transfer)
        _draw_rewinding(panels[2], transfer)
        names = [f"{change.depth.layers}   {change.depth.number}" for change in transfer.changes]
        panels[0].set_yticks(range(rows), names)
        panels[0].set_ylim(rows - 0.4, -0.6)
        panels[0].set_ylabel("depth: input ↑   head ↓", color=MUTED)
        for axes in panels:
            axes.tick_params(length=0)
            axes.grid(axis="x")
            axes.spines["left"].set_visible(False)
            for row in range(0, rows, 2):
                axes.axhspan(row - 0.5, row + 0.5, color=RULE, alpha=0.25, linewidth=0, zorder=0)
        figure.supxlabel(title, x=0.01, ha="left", fontsize=9, color=MUTED)
        return save(figure, path)


def _draw_distances(axes: Axes, transfer: Transfer) -> None:
    kinds = {
        "weights": (WEIGHTS, -APART, [change.weights for change in transfer.changes]),
        "batch-norm statistics": (STATISTICS, APART, [change.statistics for change in transfer.changes]),
    }
    for name, (colour, shift, values) in kinds.items():
        known = [(row + shift, value) for row, value in enumerate(values) if value is not None]
        if known:
            places, lengths = zip(*known, strict=True)
            axes.barh(places, lengths, height=2 * APART, color=colour, label=name, zorder=2)
    axes.set_xlim(left=0)
    axes.set_title("How far it moved")
    axes.set_xlabel("‖change‖ / ‖pretrained‖", color=MUTED)
    _add_legend(axes)


def _draw_alignment(axes: Axes, transfer: Transfer) -> None:
    known = [(row, change.cka) for row, change in enumerate(transfer.changes) if change.cka is not None]
    if known:
        rows, values = zip(*known, strict=True)
        axes.plot(values, rows, "-o", color=ALIKE, markersize=6, linewidth=1, zorder=3)
        axes.set_xlim(min(0.0, *values) - 0.04, max(1.0, *values) + 0.04)
    axes.set_title("How alike its outputs are")
    axes.set_xlabel("CKA with its pretrained outputs", color=MUTED)


def _draw_rewinding(axes: Axes, transfer: Transfer) -> None:
    rows = range(len(transfer.changes))
    _draw_marks(axes, [row - APART for row in rows], [change.alone for change in transfer.changes], "o", ALONE)
    _draw_marks(axes, [row + APART for row in rows], [change.onward for change in transfer.changes], "s", ONWARD)
    axes.axvline(100 * transfer.accuracy, color=INK, linewidth=1, linestyle="--", zorder=1)
    axes.plot([], [], "o", color=ALONE, label="this depth alone; all else as trained")
    axes.plot([], [], "s", color=ONWARD, label="this depth and all before it; statistics and head fitted anew")
    axes.plot([], [], "--", color=INK, linewidth=1, label="as trained")
    axes.set_title("Accuracy with pretrained values back")
    axes.set_xlabel("accuracy, % (bars: 95 % interval of the change)", color=MUTED)
    _add_legend(axes)


def _draw_marks(axes: Axes, rows: Sequence[float], found: Sequence[Difference], mark: str, colour: str) -> None:
    values, halves = (
        [100 * value for value in column] for column in zip(*((d.accuracy, d.half) for d in found), strict=True)
    )
    axes.errorbar(values, rows, xerr=halves, fmt=mark, color=colour, markersize=6, elinewidth=1.6, zorder=3)


def _add_legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.15), frameon=False, fontsize=9, handlelength=1.4)
