"""Accuracy on changed images against that on the test's own: in and out of distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.report.groups import Comparison, Group, Stat, stat
from headstart.report.questions.figure import Figure, colours_of, series
from headstart.report.questions.response import by_size, changes_of
from headstart.report.study import Run
from headstart.report.style import place_labels
from headstart.tracking.plot_style import MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def outside(run: Run) -> float:
    """Accuracy, a share of 1, on a run's changed test images: each change counts alike, and each size of it.

    Raises LookupError where the run has no changes.csv.
    """
    shares = [list(by_size(run, change, unchanged=False).values()) for change in changes_of([run])]
    means = [math.fsum(found) / len(found) for found in shares if found]
    if not means:
        raise LookupError(f"{run.name} tested no changed images")
    return math.fsum(means) / len(means)


class Robustness(Figure):
    """Accuracy on the changed test images (`headstart.measures.Changes`) over that on the test's own, and as published.

    Args:
        by: keys whose values have a point each.
        against: the one that the others are compared with, seed by seed.
        published: by name, the accuracies in and out of distribution, in %; `source` says where they stand.
    """

    def __init__(
        self,
        title: str,
        by: Sequence[str],
        against: str = "",
        published: Mapping[str, Sequence[float]] | None = None,
        source: str = "",
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.by, self.against, self.published, self.source = by, against, published or {}, source

    def fill(self, comparison: Comparison, path: Path) -> str:
        rows = {name: _only(name, groups) for name, groups in series(comparison, self.by).items()}
        colours = colours_of(comparison, self.by)
        figure = sheet(10.2 if self.published else 6.0, 4.6)
        axes = figure.add_subplot(1, 2 if self.published else 1, 1)
        spots = {name: (_stat([run.accuracy for run in row.runs]), _stat([outside(run) for run in row.runs]))
                 for name, row in rows.items()}  # fmt: skip
        for name, (inside, out) in spots.items():
            _cross(axes, inside, out, colours[name])
            seeds = [(100 * run.accuracy, 100 * outside(run)) for run in rows[name].runs]
            axes.plot(*zip(*seeds, strict=True), ".", color=colours[name], alpha=0.55, zorder=3)
        points = [(100 * inside.mean, 100 * out.mean, self.shown(name)) for name, (inside, out) in spots.items()]
        busy = [end for inside, out in spots.values() for end in _ends(inside, out)]
        busy += [(100 * run.accuracy, 100 * outside(run)) for row in rows.values() for run in row.runs]
        self._dress(axes, "here", points, busy)
        if self.published:
            self._beside(figure.add_subplot(1, 2, 2), colours)
        save(figure, path)
        told = ["Bars are 95 % intervals over seeds, dots single seeds; each kind of change counts alike."]
        if self.against in rows:
            told.append(self._describe_differences(rows))
        if self.published:
            told.append(f"Hollow marks: {self.source}.")
        return " ".join(told)

    def _dress(
        self,
        axes: Axes,
        title: str,
        points: Sequence[tuple[float, float, str]],
        busy: Sequence[tuple[float, float]] = (),
    ) -> None:
        axes.set_title(title)
        axes.margins(0.22)
        axes.grid(axis="both")
        axes.tick_params(length=0)
        axes.set_xlabel("accuracy in distribution, %", color=MUTED)
        axes.set_ylabel("accuracy out of distribution, %", color=MUTED)
        place_labels(axes, points, [*((x, y) for x, y, _ in points), *busy])

    def _beside(self, axes: Axes, colours: Mapping[str, str]) -> None:
        for name, (inside, out) in self.published.items():
            colour = colours.get(name, MUTED)
            axes.plot(
                [inside], [out], "D", markerfacecolor="white", color=colour, markersize=9, markeredgewidth=2, zorder=4
            )
        points = [(inside, out, self.shown(name)) for name, (inside, out) in self.published.items()]
        self._dress(axes, "published", points)

    def _describe_differences(self, rows: Mapping[str, Group]) -> str:
        """Every other row against one, in points, seed by seed."""
        base = {run.repeat: run for run in rows[self.against].runs}
        parts = []
        for name, row in rows.items():
            pairs = [(run, base[run.repeat]) for run in row.runs if run.repeat in base]
            if name == self.against or not pairs:
                continue
            inside = _stat([run.accuracy - other.accuracy for run, other in pairs])
            out = _stat([outside(run) - outside(other) for run, other in pairs])
            parts.append(f"{self.shown(name)} {_points(inside)} in distribution and {_points(out)} out of it")
        return f"Against {self.shown(self.against)}, in points, seed by seed: {'; '.join(parts)}."


def _only(name: str, groups: Sequence[Group]) -> Group:
    if len(groups) > 1:
        raise LookupError(f"{len(groups)} rows are called {name}")
    return groups[0]


def _stat(values: Sequence[float]) -> Stat:
    found = stat(values)
    assert found is not None
    return found


def _points(found: Stat) -> str:
    half = "" if found.interval is None else f" ± {100 * found.interval:.1f}"
    return f"{100 * found.mean:+.1f}{half}"


def _ends(inside: Stat, out: Stat) -> list[tuple[float, float]]:
    """Places on the bars of `_cross`, in percent; labels keep out of them."""
    x, y = 100 * inside.mean, 100 * out.mean
    wide, high = 100 * (inside.interval or 0.0), 100 * (out.interval or 0.0)
    steps = [step / 6 for step in range(-6, 7) if step]
    return [(x + step * wide, y) for step in steps] + [(x, y + step * high) for step in steps]


def _cross(axes: Axes, inside: Stat, out: Stat, colour: str) -> None:
    """Two means in percent, with the bars of their 95 % intervals."""
    x, y = 100 * inside.mean, 100 * out.mean
    bar: dict[str, Any] = {"color": colour, "linewidth": 5, "alpha": 0.25, "solid_capstyle": "butt", "zorder": 2}
    if inside.interval is not None:
        axes.plot([x - 100 * inside.interval, x + 100 * inside.interval], [y, y], **bar)
    if out.interval is not None:
        axes.plot([x, x], [y - 100 * out.interval, y + 100 * out.interval], **bar)
    axes.plot([x], [y], "o", color=colour, markersize=9, markeredgecolor="white", zorder=4)
