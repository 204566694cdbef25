"""Accuracy on changed images: over the size of the change, and against that on the test's own (`measures.Changes`)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report.charts.lines import draw_lines
from headstart.report.charts.scatter import draw_scatter
from headstart.report.charts.theme import MUTED, Looks
from headstart.report.questions.figure import Figure, looks_of, number_of, percent, series
from headstart.report.study.groups import Comparison, Group, Stat, summarize
from headstart.report.study.read import Run

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
TITLES = ("accuracy in distribution, %", "accuracy out of distribution, %")


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


def outside(run: Run) -> float:
    """Accuracy, a share of 1, on a run's changed test images: each change counts alike, and each size of it.

    Raises LookupError where the run has no changes.csv.
    """
    shares = [list(by_size(run, change, unchanged=False).values()) for change in changes_of([run])]
    means = [math.fsum(found) / len(found) for found in shares if found]
    if not means:
        raise LookupError(f"{run.name} tested no changed images")
    return math.fsum(means) / len(means)


@dataclass(eq=False)
class Response(Figure):
    """Test accuracy over the size of a change of the images, a panel for each change."""

    by: Sequence[str]

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        rows, looks = series(comparison, self.by), looks_of(comparison, self.by, self)
        charts = []
        for change in changes_of(comparison.study.runs):
            points = []
            for name, groups in rows.items():
                facts: dict[str, Any] = {"label": self.shown(name)}
                facts |= {"row": number_of(comparison, groups[0])} if len(groups) == 1 else {}
                points += [facts | point for point in _respond([run for row in groups for run in row.runs], change)]
            titles = (AMOUNTS.get(change, "size"), "test accuracy, %")
            charts.append(draw_lines(points, titles, looks, title=change))
        return charts, "Bands are 95 % intervals over seeds."


def _respond(runs: Sequence[Run], change: str) -> list[dict[str, Any]]:
    """Mean accuracy with its interval at each size that all runs measured."""
    found = [by_size(run, change) for run in runs]
    sizes = sorted(set.intersection(*map(set, found)))
    return [{"x": size, **percent(summarize([shares[size] for shares in found]))} for size in sizes]


@dataclass(eq=False)
class Robustness(Figure):
    """Accuracy on the changed test images (`headstart.measures.Changes`) over that on the test's own, and as published.

    Args:
        by: keys whose values have a point each.
        against: the one that the others are compared with, seed by seed.
        published: by name, the accuracies in and out of distribution, in %; `source` says where they stand.
    """

    by: Sequence[str]
    against: str = ""
    published: Mapping[str, Sequence[float]] | None = None
    source: str = ""

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        found = series(comparison, self.by)
        for name, groups in found.items():
            if len(groups) > 1:
                raise LookupError(f"{len(groups)} rows are called {name}")
        rows = {name: groups[0] for name, groups in found.items()}
        looks = looks_of(comparison, self.by, self)
        points, dots = [], []
        for name, row in rows.items():
            facts = {"row": number_of(comparison, row), "label": self.shown(name)}
            inside, out = percent(row.accuracy), percent(summarize([outside(run) for run in row.runs]))
            place = {"x": inside["y"], "left": inside["low"], "right": inside["high"], "tag": self.shown(name)}
            points.append(facts | place | out)
            dots += [
                facts | {"x": 100 * run.accuracy, "y": 100 * outside(run), "run": run.name, "seed": str(run.repeat)}
                for run in row.runs
            ]
        charts = [self._panel(points, looks, dots=dots)]
        told = ["Bars are 95 % intervals over seeds, dots single seeds; each kind of change counts alike."]
        if self.against in rows:
            told.append(self._describe_differences(rows))
        if self.published:
            charts = [charts[0].properties(title="here"), self._beside(looks).properties(title="published")]
            told.append(f"Hollow marks: {self.source}.")
        return charts, " ".join(told)

    def _panel(self, points: Sequence[dict[str, Any]], looks: Looks, **options: Any) -> Any:
        panels = 1 + bool(self.published)
        return draw_scatter(points, TITLES, looks, log=False, panels=panels, legend=False, number="plain", **options)

    def _beside(self, looks: Looks) -> Any:
        own = dict(zip(looks.names, looks.colours, strict=True))
        published = {self.shown(name): place for name, place in (self.published or {}).items()}
        theirs = Looks(list(published), [own.get(name, MUTED) for name in published], ["diamond"] * len(published))
        points = [
            {"label": name, "tag": name, "x": inside, "y": out, "hollow": True}
            for name, (inside, out) in published.items()
        ]
        return self._panel(points, theirs)

    def _describe_differences(self, rows: Mapping[str, Group]) -> str:
        """Every other row against one, in points, seed by seed."""
        base = {run.repeat: run for run in rows[self.against].runs}
        parts = []
        for name, row in rows.items():
            pairs = [(run, base[run.repeat]) for run in row.runs if run.repeat in base]
            if name == self.against or not pairs:
                continue
            inside = summarize([run.accuracy - other.accuracy for run, other in pairs])
            out = summarize([outside(run) - outside(other) for run, other in pairs])
            parts.append(f"{self.shown(name)} {_points(inside)} in distribution and {_points(out)} out of it")
        return f"Against {self.shown(self.against)}, in points, seed by seed: {'; '.join(parts)}."


def _points(found: Stat) -> str:
    half = "" if found.interval is None else f" ± {100 * found.interval:.1f}"
    return f"{100 * found.mean:+.1f}{half}"
