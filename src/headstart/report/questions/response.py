"""Test accuracy over the size of a change of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.charts.lines import draw_lines
from headstart.report.questions.figure import Figure, looks_of, number_of, percent, series
from headstart.report.study.groups import Comparison, stat
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

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        rows, looks = series(comparison, self.by), looks_of(comparison, self.by, self.names)
        charts = []
        for change in changes_of(comparison.study.runs):
            points = []
            for name, groups in rows.items():
                facts = {"label": self.shown(name)} | (
                    {"row": number_of(comparison, groups[0])} if len(groups) == 1 else {}
                )
                points += [facts | point for point in _respond([run for row in groups for run in row.runs], change)]
            titles = (AMOUNTS.get(change, "size"), "test accuracy, %")
            charts.append(draw_lines(points, titles, looks, title=change))
        return charts, "Bands are 95 % intervals over seeds."


def _respond(runs: Sequence[Run], change: str) -> list[dict[str, Any]]:
    """Mean accuracy with its interval at each size that all runs measured."""
    found = [by_size(run, change) for run in runs]
    sizes = sorted(set.intersection(*map(set, found)))
    stats = {size: stat([shares[size] for shares in found]) for size in sizes}
    return [{"x": size, **percent(each)} for size, each in stats.items() if each is not None]
