"""What happens by epoch: errors and the sizes of gradients."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report.charts.lines import draw_lines
from headstart.report.charts.theme import colour_names
from headstart.report.questions.figure import Figure, name_of, number_of, series
from headstart.report.study.groups import Comparison, Group
from headstart.report.study.read import Run


@dataclass(eq=False)
class Errors(Figure):
    """Training and validation error by epoch, the mean over seeds; a colour for each value of `by` as it is shown.

    Args:
        panels: keys whose values have a panel each; or panels by title, with the values of `by` that they hold.
            Without them, the two errors have a panel each.
    """

    by: Sequence[str]
    panels: Sequence[str] | Mapping[str, Sequence[str]] = ()

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        looks = colour_names(list(dict.fromkeys(self.shown(name) for name in series(comparison, self.by))))
        charts = []
        for title, (rows, kinds) in self._panels(comparison).items():
            points: list[dict[str, Any]] = []
            for row in rows:
                facts = {"row": number_of(comparison, row), "label": self.shown(name_of(row, self.by) or "all")}
                for kind in kinds:
                    found = _by_epoch(row, "metrics.csv", f"{kind}_accuracy", lambda share: 100 * (1 - share))
                    words = {"kind": {"train": "training", "val": "validation"}[kind]}
                    points += [facts | words | {"x": x, "y": y} for x, y in zip(*found, strict=True)]
            dashed = len(kinds) > 1
            most = max((point["y"] for point in points), default=1.0)
            chart = draw_lines(
                points, ("epoch", "error, %"), looks, title=title, dashed=dashed, limits=(0, 1.05 * most)
            )
            charts.append(chart)
        return charts, "The training error is that of the batches as the epoch ran, the validation error that after it."

    def _panels(self, comparison: Comparison) -> dict[str, tuple[list[Group], tuple[str, ...]]]:
        """Rows and kinds of error, by the panel's title."""
        found, both = series(comparison, self.by), ("train", "val")
        if not self.panels:
            return {"training": (comparison.groups, both[:1]), "validation": (comparison.groups, both[1:])}
        if not isinstance(self.panels, Mapping):
            return {title: (rows, both) for title, rows in series(comparison, self.panels).items()}
        panels = {title: [row for name in names for row in found.get(name, [])] for title, names in self.panels.items()}
        return {title: (rows, both) for title, rows in panels.items() if rows}


def _by_epoch(row: Group, file: str, column: str, shown: Callable[[float], float]) -> tuple[list[int], list[float]]:
    """A column's mean over a row's seeds, by epoch."""
    found: dict[int, list[float]] = {}
    for run in row.runs:
        for line in run.rows(file):
            if line.get(column) and line.get("epoch"):  # a fitted head has a row without an epoch
                found.setdefault(int(line["epoch"]), []).append(shown(float(line[column])))
    if not found:
        raise LookupError(f"no run of {row.model} has {column} in {file}")
    epochs = sorted(epoch for epoch, values in found.items() if len(values) == len(row.runs))
    return epochs, [math.fsum(found[epoch]) / len(found[epoch]) for epoch in epochs]


@dataclass(eq=False)
class Gradients(Figure):
    """The size of each layer's gradient, from the input to the head, after the first and the last epoch."""

    by: Sequence[str]

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        rows = series(comparison, self.by)
        looks = colour_names([self.shown(name) for name in rows])
        charts = []
        for when, title in ((min, "first epoch"), (max, "last epoch")):
            points = [
                {"row": number_of(comparison, groups[0]), "label": self.shown(name), "x": x, "y": y}
                for name, groups in rows.items()
                for x, y in zip(*_layers(groups[0].runs, when), strict=True)
            ]
            titles = ("share of the way from input to head", "gradient, root mean square")
            charts.append(draw_lines(points, titles, looks, title=title, logs=(False, True)))
        return charts, ""


def _layers(runs: Sequence[Run], when: Callable[[list[int]], int]) -> tuple[list[float], list[float]]:
    """Place of each layer, 0 … 1, and its gradient's size, the geometric mean over seeds."""
    found: dict[int, list[float]] = {}
    for run in runs:
        lines = run.rows("gradients.csv")
        if not lines:
            raise LookupError(f"{run.name} has no gradients.csv")
        epoch = when([int(line["epoch"]) for line in lines])
        for line in lines:
            if int(line["epoch"]) == epoch and float(line["rms"]) > 0:
                found.setdefault(int(line["layer"]), []).append(math.log(float(line["rms"])))
    if not found:
        raise LookupError(f"the gradients of {runs[0].name} are all zero")
    last = max(max(found) - 1, 1)
    layers = sorted(found)
    return [(layer - 1) / last for layer in layers], [math.exp(math.fsum(found[x]) / len(found[x])) for x in layers]
