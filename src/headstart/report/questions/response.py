"""Test accuracy over the size of a change of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.report.groups import Comparison, stat
from headstart.report.questions.figure import Figure, colours_of, legend, series
from headstart.report.study import Run
from headstart.tracking.plot_style import MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "changes.csv"  # of headstart.measures.Changes
AMOUNTS = {
    "shift": "share of the side",
    "scale": "factor",
    "rotation": "degrees",
    "stroke": "pixels on each side of a stroke",
    "noise": "standard deviation, of 1",
    "blur": "standard deviation, share of the side",
    "contrast": "factor",
    "brightness": "added, of 1",
}
UNCHANGED = {"scale": 1.0, "contrast": 1.0}  # the size that changes nothing; of other changes it is 0
COLUMNS = 4  # panels beside each other


def by_size(run: Run, change: str, unchanged: bool = True) -> dict[float, float]:
    """Accuracy, a share of 1, by the size of a change; `unchanged`: with the test's own accuracy among them."""
    nothing = UNCHANGED.get(change, 0.0)
    found = {float(line["size"]): float(line["accuracy"]) for line in run.rows(FILE) if line["change"] == change}
    found.pop(nothing, None)
    return dict(sorted((found | ({nothing: run.accuracy} if unchanged else {})).items()))


def changes_of(runs: Sequence[Run]) -> list[str]:
    """The changes that any of the runs measured, in their order; raises LookupError where there are none."""
    found = list(dict.fromkeys(line["change"] for run in runs for line in run.rows(FILE)))
    if not found:
        raise LookupError(f"no run has a {FILE}")
    return found


class Response(Figure):
    """Test accuracy over the size of a change of the images, a panel for each change."""

    def __init__(
        self, title: str, by: Sequence[str], caption: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title, caption, names)
        self.by = by

    def fill(self, comparison: Comparison, path: Path) -> str:
        rows, colours = series(comparison, self.by), colours_of(comparison, self.by)
        changes = changes_of(comparison.study.runs)
        across = min(COLUMNS, len(changes))
        down = -(-len(changes) // across)
        figure = sheet(max(5.6, (3.9 if down == 1 else 2.9) * across), 4.0 if down == 1 else 3.0 * down)
        first: Any = None
        for place, change in enumerate(changes):
            first = axes = figure.add_subplot(down, across, place + 1, sharey=first)
            for name, groups in rows.items():
                _response(axes, [run for group in groups for run in group.runs], change, colours[name])
            axes.set_title(change)
            axes.grid(axis="y")
            axes.tick_params(length=0, labelleft=place % across == 0)
            axes.set_xlabel(AMOUNTS.get(change, ""), color=MUTED)
            if place % across == 0:
                axes.set_ylabel("test accuracy, %", color=MUTED)
        legend(figure, {self.shown(name): colours[name] for name in rows}, {})
        save(figure, path)
        return "Bands are 95 % intervals over seeds."


def _response(axes: Axes, runs: Sequence[Run], change: str, colour: str) -> None:
    found = [by_size(run, change) for run in runs]
    sizes = sorted(set.intersection(*map(set, found)))
    stats = [stat([100 * shares[size] for shares in found]) for size in sizes]
    means = [each.mean for each in stats if each is not None]
    halves = [each.interval or 0.0 for each in stats if each is not None]
    axes.plot(sizes, means, "o-", color=colour, linewidth=1.7, markersize=4, zorder=3)
    low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
    axes.fill_between(sizes, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
