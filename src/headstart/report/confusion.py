"""Confusion matrices of a study's rows, from the runs' predictions on the test set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group
from headstart.report.study import Run
from headstart.report.style import shorten
from headstart.tracking.confusion import count_pairs
from headstart.tracking.plot_fonts import name_classes
from headstart.tracking.plot_style import MUTED, save, sheet

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_DRAWN = 12
ANNOTATED = 12
TICKED = 40
NAME_LENGTH = 16
# Steep at the pale end, where the mistakes are.
SHADES = [(0.0, "#f7f9fb"), (0.1, "#cfe1f0"), (0.4, "#63a7d2"), (0.75, "#0072B2"), (1.0, "#08306b")]


def count_run(run: Run, classes: int) -> np.ndarray | None:
    """Count a run's test images by true (row) and predicted (column) class, int64 [classes, classes].

    None where it has no readable predictions.
    """
    answers = run.answers
    return None if answers is None else count_pairs(answers.labels, answers.predicted, classes)


def count_group(group: Group) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Sum a group's counts over its seeds; also the class names, and the runs that had none to add."""
    classes = next((run.classes for run in group.runs if run.classes), [])
    total = None
    without = []
    for run in group.runs:
        counts = count_run(run, len(classes)) if run.classes == classes else None
        if counts is None:
            without.append(run.name)
        else:
            total = counts if total is None else total + counts
    return total, classes, without


def shares(counts: np.ndarray) -> np.ndarray:
    """Rows of counts as shares of 1; NaN for a class without test images."""
    import numpy as np

    sums = counts.sum(axis=1, keepdims=True)
    return np.where(sums > 0, counts / np.maximum(sums, 1), np.nan)


def worst_pairs(rate: np.ndarray, classes: list[str], most: int = 3) -> str:
    """The classes most often taken for another, such as `8 for 1 (12 %)`; empty where none is."""
    import numpy as np

    wrong = np.nan_to_num(rate)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(place) // len(classes), int(place) % len(classes)) for place in order]
    return ", ".join(
        f"{classes[true]} for {classes[seen]} ({100 * wrong[true, seen]:.0f} %)"
        for true, seen in pairs
        if wrong[true, seen] > 0
    )


def leading(comparison: Comparison) -> list[Group]:
    """The rows that get a picture of their own: the best of each task, about twelve in all."""
    tasks = comparison.tasks()
    return [row for rows in tasks.values() for row in rows[: max(1, MOST_DRAWN // len(tasks))]]


def draw_confusions(comparison: Comparison, folder: Path) -> tuple[list[tuple[Path, str, str]], str]:
    """Draw one matrix per leading row; return (file, label, caption) of each, and a sentence on those left out."""
    drawn, absent = [], []
    shown = {id(group) for group in leading(comparison)}
    for place, group in enumerate(comparison.groups, start=1):
        counts, classes, without = count_group(group)
        absent += without
        if counts is None or id(group) not in shown:
            continue
        label = comparison.label(group)
        slug = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower()[:60]
        rate = shares(counts)
        path = draw_matrix(rate, classes, label, folder / f"confusion-{place:02d}-{slug}.png")
        pairs = worst_pairs(rate, classes)
        confused = f"Most often taken: {pairs}." if pairs else "No image was taken for another class."
        drawn.append((path, label, f"{label}. {confused}"))
    missing = f"Left out, for want of readable predictions: {', '.join(absent)}." if absent else ""
    few = f"The best {len(drawn)} of {len(comparison.groups)} rows." if len(shown) < len(comparison.groups) else ""
    return drawn, " ".join(filter(None, [missing, few]))


def draw_matrix(rate: np.ndarray, classes: list[str], title: str, path: Path) -> Path:
    """Draw a row-normalised matrix: with numbers up to 12 classes, every name up to 40."""
    n = len(classes)
    side = 4.6 if n <= ANNOTATED else 5.6 if n <= TICKED else 6.6
    figure = sheet(side + 0.5, side)
    axes = figure.add_subplot()
    from matplotlib.colors import LinearSegmentedColormap

    paper = LinearSegmentedColormap.from_list("ink", SHADES).with_extremes(bad="#e4e4e4")
    image = axes.imshow(100 * rate, cmap=paper, vmin=0, vmax=100, interpolation="nearest")
    _class_ticks(axes, classes)
    if n <= ANNOTATED:
        _cell_numbers(axes, rate)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(shorten(title, 46))
    axes.set_xlabel("predicted class", color=MUTED)
    axes.set_ylabel("true class", color=MUTED)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=24, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8)
    bar.ax.set_title("%", fontsize=8, loc="center", weight="normal")
    return save(figure, path)


def _class_ticks(axes: Axes, classes: list[str]) -> None:
    n = len(classes)
    step = 1 if n <= TICKED else -(-n // 25)
    places = list(range(0, n, step))
    drawable = name_classes(classes)
    names = [shorten(drawable[place], NAME_LENGTH) for place in places]
    size = 9 if n <= ANNOTATED else 7.5 if n <= 25 else 6.5
    upright = max(len(name) for name in names) * n <= 36 if n <= ANNOTATED else max(len(name) for name in names) <= 2
    axes.set_xticks(places, names, rotation=0 if upright else 90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=0 if step == 1 else 2)


def _cell_numbers(axes: Axes, rate: np.ndarray) -> None:
    size = 9.0 if len(rate) <= 8 else 7.5
    for true, row in enumerate(rate):
        for seen, share in enumerate(row):
            if share >= 0.005:
                colour = "white" if share > 0.4 else "#1f2328"
                axes.text(seen, true, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=size)
