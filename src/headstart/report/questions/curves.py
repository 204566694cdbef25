"""Test accuracy over a number of the config, and where one line overtakes another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report.groups import Comparison, Group, plain
from headstart.report.paired import common_runs
from headstart.report.questions.figure import Figure, colours_of, series, value
from headstart.report.study import Repeat
from headstart.report.style import spread_out
from headstart.tracking.plot_style import INK, MARKS, MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = dict[float, Group]  # by the number that is looked at, in its order


@dataclass(frozen=True)
class Crossing:
    """Where a lead changes from none to some: between two neighbouring numbers, and where a straight line has it."""

    low: float
    high: float
    at: float


def crossings(lead: Mapping[float, float]) -> list[Crossing]:
    """Every place where a lead by number turns positive, interpolated on a logarithmic axis."""
    found = []
    for (low, before), (high, after) in pairwise(sorted(lead.items())):
        if before <= 0 < after:
            share = before / (before - after)
            found.append(Crossing(low, high, low * (high / low) ** share))
    return found


class Curves(Figure):
    """Test accuracy over a number, on a logarithmic axis: a line of means with its 95 % band for each series.

    Args:
        x: the number's key, such as `data.train_per_class`; `unit` says what it counts.
        by: keys whose values have a line each.
        overtakes: pairs of lines: where does the mean of the first overtake that of the second?
    """

    def __init__(
        self,
        title: str,
        x: str,
        by: Sequence[str],
        unit: str = "",
        overtakes: Sequence[Sequence[str]] = (),
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.x, self.by, self.unit, self.overtakes = x, by, unit or x, overtakes

    def fill(self, comparison: Comparison, path: Path) -> str:
        lines = {name: self._line(rows) for name, rows in series(comparison, self.by).items()}
        colours = colours_of(comparison, self.by)
        pairs = [(lines[late], lines[early]) for late, early in self.overtakes if late in lines and early in lines]
        figure = sheet(7.6, 4.6)
        axes = figure.add_subplot()
        for rank, (name, line) in enumerate(lines.items()):
            _draw(axes, line, colours[name], MARKS[rank % len(MARKS)])
        self._dress(axes, sorted({x for line in lines.values() for x in line}))
        for late, early in pairs:
            _mark(axes, late, early)
        ends = {self.shown(name): (line[max(line)], colours[name]) for name, line in lines.items()}
        _name_ends(axes, ends)
        save(figure, path)
        asked = [(late, early) for late, early in self.overtakes if late in lines and early in lines]
        return " ".join(
            [
                "Bands are 95 % intervals over seeds.",
                *(self._describe(*pair, lines) + _missing(lines[pair[0]], lines[pair[1]]) for pair in asked),
            ]
        )

    def _line(self, rows: Sequence[Group]) -> Line:
        line: Line = {}
        for row in rows:
            x = value(row, self.x)
            if not isinstance(x, int | float) or x <= 0:
                raise LookupError(f"{row.model}, {row.strategy} has {self.x}={plain(x)}, which is no number above 0")
            if x in line:
                raise LookupError(f"several rows of {row.strategy} have {self.x}={plain(x)}")
            line[float(x)] = row
        return dict(sorted(line.items()))

    def _dress(self, axes: Axes, numbers: Sequence[float]) -> None:
        from matplotlib.ticker import NullLocator

        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{x:g}" for x in numbers])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="both")
        axes.tick_params(length=0)
        axes.set_xlabel(self.unit, color=MUTED)
        axes.set_ylabel("test accuracy, %", color=MUTED)

    def _describe(self, late: str, early: str, lines: Mapping[str, Line]) -> str:
        """Whether and where one line overtakes another, over all seeds and in single ones."""
        lead, by_seed = leads(lines[late], lines[early])
        first, second = self.shown(late), self.shown(early)
        if not lead:
            return f"{first} and {second} share no seed at any number of {self.unit}."
        found, last = crossings(lead), max(lead)
        if not found:
            where = f"up to {last:g} {self.unit}"
            if min(lead.values()) > 0:
                return f"{first} is ahead of {second} at every number of {self.unit}."
            falls = next((x for x in lead if lead[x] <= 0), last)
            fate = f"behind from {falls:g}" if lead[falls] < 0 else f"no longer at {falls:g}"
            return f"{first} does not overtake {second} {where}" + (
                f"; it is ahead at first, and {fate}." if lead[min(lead)] > 0 else "."
            )
        places = " and again ".join(f"between {each.low:g} and {each.high:g}" for each in found)
        at = f"the lines meet at {', '.join(f'{each.at:.3g}' for each in found)}"
        if len(by_seed) > 1:
            own = [crossed[-1].at for crossed in map(crossings, by_seed) if crossed]
            at += f"; {len(own)} of {len(by_seed)} single seeds cross"
            at += f", at {min(own):.3g} to {max(own):.3g}" if own else ""
        back = " It is no longer ahead at the end." if lead[last] <= 0 else ""
        return f"{first} overtakes {second} {places} {self.unit} ({at}).{back}"


def leads(late: Line, early: Line) -> tuple[dict[float, float], list[dict[float, float]]]:
    """By how much one line is ahead of another, at the numbers that both have: in the mean, and seed by seed.

    The mean is over the seeds that both lines have at a number; a single seed counts where they have it at all of them.
    """
    apart: dict[float, dict[Repeat, float]] = {}
    for x, row in late.items():
        common = common_runs(row, early[x]) if x in early else []
        if common:
            apart[x] = {one.repeat: one.accuracy - other.accuracy for one, other in common}
    seeds = sorted(set.intersection(*map(set, apart.values()))) if apart else []
    lead = {x: math.fsum(found.values()) / len(found) for x, found in apart.items()}
    return lead, [{x: found[seed] for x, found in apart.items()} for seed in seeds]


def _missing(late: Line, early: Line) -> str:
    """A sentence on the runs that a lead leaves out because the other line lacks their seeds; empty where none is."""
    shared = [x for x in late if x in early]
    seeds = {x: [{run.repeat for run in line[x].runs} for line in (late, early)] for x in shared}
    uneven = [f"{x:g}" for x in shared if seeds[x][0] != seeds[x][1]]
    return f" At {', '.join(uneven)}, where runs are missing, only seeds that both have count." if uneven else ""


def _draw(axes: Axes, line: Line, colour: str, mark: str) -> None:
    means = [100 * row.accuracy.mean for row in line.values()]
    halves = [100 * (row.accuracy.interval or 0.0) for row in line.values()]
    low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
    axes.fill_between(list(line), low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
    axes.plot(list(line), means, f"{mark}-", color=colour, linewidth=2, markersize=6, markeredgecolor="white", zorder=4)


def _mark(axes: Axes, late: Line, early: Line) -> None:
    """A ring where the first line overtakes the second, with its place below."""
    for crossing in crossings(leads(late, early)[0]):
        share = math.log(crossing.at / crossing.low) / math.log(crossing.high / crossing.low)
        ends = [100 * late[x].accuracy.mean for x in (crossing.low, crossing.high)]
        y = ends[0] + share * (ends[1] - ends[0])
        axes.plot(
            [crossing.at], [y], "o", markersize=13, markerfacecolor="none", color=INK, markeredgewidth=1.4, zorder=5
        )
        axes.annotate(
            f"≈ {crossing.at:.2g}" if crossing.at < 10 else f"≈ {crossing.at:.0f}",
            (crossing.at, y),
            (0, -18),
            textcoords="offset points",
            ha="center",
            fontsize=10,
            weight="bold",
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
            zorder=6,
        )


def _name_ends(axes: Axes, ends: Mapping[str, tuple[Group, str]]) -> None:
    """Each line's name beside its end, in its colour."""
    low, high = axes.get_ylim()
    heights = [100 * row.accuracy.mean for row, _ in ends.values()]
    places = spread_out(heights, 0.055 * (high - low), low, high)
    for (name, (_, colour)), y in zip(ends.items(), places, strict=True):
        axes.annotate(
            name, (1.015, y), xycoords=("axes fraction", "data"), color=colour, va="center", weight="bold", fontsize=10
        )
