"""The small tables that the charts of a study are drawn from; the page's script makes the same ones of a subset."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from headstart.report.charts.theme import Looks, Palette, percent_limits
from headstart.report.stats.worth import Budget, frontier
from headstart.report.study.curves import Curve, read_curve
from headstart.report.study.groups import Comparison, Group, plain
from headstart.report.study.metric import Metric
from headstart.report.study.read import Run

MOST_SCORES = 40  # rows of the chart of scores
MOST_NAMED = 12  # points with a name each; of more, only those that nothing cheaper beats have one


class Table:
    """A comparison as its charts see it: rows have numbers, labels within their task, and looks."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.palette = Palette(comparison.groups)
        self.runs = [run for group in comparison.groups for run in group.runs]
        self._labels = {id(group): comparison.label(group, within_task=True) for group in comparison.groups}
        self._numbers = {id(group): place for place, group in enumerate(comparison.groups)}
        self._places = {run.name: place for place, run in enumerate(self.runs)}

    @cached_property
    def looks(self) -> Looks:
        """The looks of all labels."""
        return self.looks_of(self.comparison.groups)

    def looks_of(self, groups: Sequence[Group]) -> Looks:
        """The looks of some rows' labels."""
        return self.palette.looks({self.label(group): group for group in groups})

    def label(self, group: Group) -> str:
        """The row's label within its task."""
        return self._labels[id(group)]

    def number(self, group: Group) -> int:
        """The row's place in the comparison."""
        return self._numbers[id(group)]

    def place(self, run: Run) -> int:
        """The run's place among those of all rows."""
        return self._places[run.name]

    @cached_property
    def curves(self) -> dict[str, Curve | None]:
        """Each run's learning curve, by its name."""
        return {run.name: read_curve(run) for run in self.runs}

    @cached_property
    def differing(self) -> dict[str, str]:
        """The overrides in which each run differs from others, by its name; without these, its settings."""
        words: dict[str, list[str]] = {}
        for group in self.comparison.groups:
            keys = [f"{self.comparison.short(key)}={plain(value)}" for key, value in group.keys.items()]
            words |= {run.name: run.overrides or keys for run in group.runs}
        same = set.intersection(*map(set, words.values())) if len(words) > 1 else set()
        return {name: "  ".join(word for word in own if word not in same) for name, own in words.items()}

    def score(self, group: Group) -> dict[str, Any]:
        """The row's mean and interval as they are drawn."""
        found, scale = group.score, group.metric.scale
        half = found.interval
        text = group.metric.number(found.mean) + ("" if half is None else f" ± {group.metric.number(half)}")
        facts = {"row": self.number(group), "label": self.label(group), "n": found.n, "text": text}
        return facts | {"score": scale * found.mean, **found.ends(scale)}

    def run(self, group: Group, run: Run) -> dict[str, Any]:
        """What the pointer is told of a run."""
        facts = {"row": self.number(group), "label": self.label(group), "run": run.name, "seed": str(run.repeat)}
        return facts | {"differs": self.differing[run.name], "score": group.metric.scale * run.score}


def list_scores(table: Table) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The best rows and their seeds for the chart of scores; each of several tasks begins with its name."""
    rows, seeds = [], []
    tasks = table.comparison.tasks()
    most = max(3, MOST_SCORES // len(tasks))
    for place, (task, groups) in enumerate(tasks.items()):
        if len(tasks) > 1:
            rows.append({"id": f"t{place}", "label": task, "head": True})
        for group in groups[:most]:
            line = {"id": f"r{table.number(group)}"}
            rows.append(line | table.score(group))
            seeds += [line | table.run(group, run) for run in group.runs]
    return rows, seeds


def score_span(rows: Sequence[Group]) -> list[float]:
    """Rows' scores and the ends of their intervals, where there can be any: what a chart must have room for."""
    found = []
    for row in rows:
        most = 1.0 if row.metric.share else math.inf
        half = row.score.interval or 0.0
        ends = [max(0.0, row.score.mean - half), min(most, row.score.mean + half)]
        found += [row.metric.scale * value for value in [*(run.score for run in row.runs), *ends]]
    return found


def score_limits(metric: Metric, values: list[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits around values of a metric as they are drawn; those of a share are percent."""
    if metric.share:
        return percent_limits(values, margin)
    room = max(margin * (max(values) - min(values)), 0.02)
    return max(0.0, min(values) - room), max(values) + room


def list_costs(
    table: Table, rows: Sequence[Group], budget: Budget
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[tuple[float, float]]]:
    """The points, the seeds and the corners of the frontier of a chart of the metric against a cost."""
    known = [(cost, row) for row in rows if (cost := budget.of(row))]
    best = frontier([row for _, row in known], budget)
    corners = [(cost, row.metric.scale * row.score.mean) for cost, row in best]
    named = {id(row) for _, row in best} if len(known) > MOST_NAMED else {id(row) for _, row in known}
    points, dots = [], []
    for cost, row in known:
        found = table.score(row)
        tag = found["label"] if id(row) in named else ""
        points.append(found | {"x": cost, "y": found["score"], "tag": tag})
        seeds = [table.run(row, run) | {"x": budget.value(run) or cost} for run in row.runs]
        dots += [seed | {"y": seed["score"]} for seed in seeds]
    return points, dots, corners


def list_curves(table: Table, rows: Sequence[Group]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points of learning curves, and the levels of rows that have no epochs: means, least and most over seeds."""
    points: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    for row in rows:
        facts = {"row": table.number(row), "label": table.label(row)}
        curves = [curve for run in row.runs if (curve := table.curves[run.name]) is not None]
        live = [curve for curve in curves if curve.probe is None]
        if live:
            points += [facts | point for point in average_curves(live)]
        elif curves:
            levels.append(facts | _spread([100 * curve.probe for curve in curves if curve.probe is not None]))
    return points, levels


def average_curves(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """The mean over runs at each epoch that all have; where they have none in common, the longest run."""
    common = set.intersection(*(set(curve.by_epoch) for curve in curves))
    if not common:
        curves = [max(curves, key=lambda curve: max(curve.by_epoch))]
        common = set(curves[0].by_epoch)
    begins = {*curves[0].begins, *([0] if 0 in common else [])}
    return [
        {"x": epoch, **_spread([100 * curve.by_epoch[epoch] for curve in curves]), "begins": epoch in begins}
        for epoch in sorted(common)
    ]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    several = len(values) > 1
    ends = {"low": min(values), "high": max(values)} if several else {"low": None, "high": None}
    return {"y": math.fsum(values) / len(values), **ends}
