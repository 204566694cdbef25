"""Accuracy on changed images against that on the test's own: in and out of distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.charts.scatter import draw_scatter
from headstart.report.charts.theme import MUTED, Looks
from headstart.report.questions.figure import Figure, looks_of, number_of, percent, series
from headstart.report.questions.response import by_size, changes_of
from headstart.report.study.groups import Comparison, Group, Stat, stat
from headstart.report.study.read import Run

TITLES = ("accuracy in distribution, %", "accuracy out of distribution, %")


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

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        rows = {name: _only(name, groups) for name, groups in series(comparison, self.by).items()}
        looks = looks_of(comparison, self.by, self.names)
        points, dots = [], []
        for name, row in rows.items():
            facts = {"row": number_of(comparison, row), "label": self.shown(name)}
            inside, out = percent(row.accuracy), percent(_stat([outside(run) for run in row.runs]))
            place = {"x": inside["y"], "left": inside["low"], "right": inside["high"], "tag": self.shown(name)}
            points.append(facts | place | out)
            dots += [
                facts | {"x": 100 * run.accuracy, "y": 100 * outside(run), "run": run.name, "seed": str(run.repeat)}
                for run in row.runs
            ]
        charts = [
            draw_scatter(
                points,
                TITLES,
                looks,
                dots=dots,
                log=False,
                panels=1 + bool(self.published),
                legend=False,
                number="plain",
            )
        ]
        told = ["Bars are 95 % intervals over seeds, dots single seeds; each kind of change counts alike."]
        if self.against in rows:
            told.append(self._describe_differences(rows))
        if self.published:
            charts = [charts[0].properties(title="here"), self._beside(looks).properties(title="published")]
            told.append(f"Hollow marks: {self.source}.")
        return charts, " ".join(told)

    def _beside(self, looks: Looks) -> Any:
        own = dict(zip(looks.names, looks.colours, strict=True))
        names = [self.shown(name) for name in self.published]
        theirs = Looks(names, [own.get(name, MUTED) for name in names], ["diamond"] * len(names))
        points = [
            {"label": self.shown(name), "tag": self.shown(name), "x": inside, "y": out, "hollow": True}
            for name, (inside, out) in self.published.items()
        ]
        return draw_scatter(
            points, TITLES, theirs, log=False, panels=1 + bool(self.published), legend=False, number="plain"
        )

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
