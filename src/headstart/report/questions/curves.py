"""Test accuracy over a number of the config, and where one line overtakes another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from headstart.report.charts.lines import draw_lines
from headstart.report.questions.figure import Figure, looks_of, number_of, percent, series, value
from headstart.report.stats.paired import common_runs
from headstart.report.study.groups import Comparison, Group, plain
from headstart.report.study.repeat import Repeat

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


@dataclass(eq=False)
class Curves(Figure):
    """Test accuracy over a number, on a logarithmic axis: a line of means with its 95 % band for each series.

    Args:
        x: the number's key, such as `data.train_per_class`; `unit` says what it counts.
        by: keys whose values have a line each.
        overtakes: pairs of lines: where does the mean of the first overtake that of the second?
    """

    x: str
    by: Sequence[str]
    unit: str = ""
    overtakes: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        self.unit = self.unit or self.x

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        lines = {name: self._line(rows) for name, rows in series(comparison, self.by).items()}
        asked = [(late, early) for late, early in self.overtakes if late in lines and early in lines]
        points = [
            {"row": number_of(comparison, row), "label": self.shown(name), "x": x, **percent(row.accuracy)}
            for name, line in lines.items()
            for x, row in line.items()
        ]
        rings = [ring for late, early in asked for ring in _rings(lines[late], lines[early])]
        ticks = sorted({x for line in lines.values() for x in line})
        titles = (self.unit, "test accuracy, %")
        looks = looks_of(comparison, self.by, self)
        chart = draw_lines(points, titles, looks, logs=(True, False), ticks=ticks, rings=rings)
        told = [self._describe(*pair, lines) + _missing(lines[pair[0]], lines[pair[1]]) for pair in asked]
        return [chart], " ".join(["Bands are 95 % intervals over seeds.", *told])

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


def _rings(late: Line, early: Line) -> list[dict[str, Any]]:
    """Where the first line overtakes the second."""
    found = []
    for crossing in crossings(leads(late, early)[0]):
        share = math.log(crossing.at / crossing.low) / math.log(crossing.high / crossing.low)
        ends = [100 * late[x].accuracy.mean for x in (crossing.low, crossing.high)]
        text = f"≈ {crossing.at:.2g}" if crossing.at < 10 else f"≈ {crossing.at:.0f}"
        found.append({"x": crossing.at, "y": ends[0] + share * (ends[1] - ends[0]), "text": text})
    return found
