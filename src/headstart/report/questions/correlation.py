"""Transfer accuracy over networks' published ImageNet accuracy (Kornblith et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.models import published
from headstart.report.charts.scatter import draw_scatter, find_limits
from headstart.report.charts.theme import Looks
from headstart.report.questions.figure import Figure, looks_of, series
from headstart.report.study.groups import Comparison, Group, Stat, stat
from headstart.report.study.read import Run
from headstart.report.study.repeat import Repeat

LEAST = 5  # networks: with fewer, the interval of r covers nearly everything from -1 to 1


@dataclass(frozen=True)
class Pearson:
    """A correlation of n pairs, and its 95 % interval by Fisher's z."""

    n: int
    r: float
    low: float
    high: float


def pearson(x: Sequence[float], y: Sequence[float]) -> Pearson | None:
    """Pearson's r; None where there are fewer than `LEAST` pairs, or one side does not vary."""
    if len(x) < LEAST or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    from scipy import stats

    found = stats.pearsonr(x, y)
    low, high = found.confidence_interval(0.95)
    return Pearson(len(x), float(found.statistic), float(low), float(high))


def log_odds(run: Run) -> float:
    """The log odds of a run's test accuracy; half an image is added to right and wrong ones, so that 100 % has them."""
    n = run.number("n_test") or 0.0
    right = run.accuracy * n
    return math.log((right + 0.5) / (n - right + 0.5))


def _weights(run: Run) -> str:
    """The run's `model.weights`; empty if its config cannot be read."""
    return str((run.config or {}).get("model.weights", ""))


@dataclass(frozen=True)
class Adjusted:
    """Each network's log odds, less those of the mean network on the same data, averaged over data, as over seeds.

    Rows are a grid of networks and data: networks that lack a cell of it are left out, as is a seed that one lacks.
    """

    spots: dict[str, Stat]  # by network
    weights: dict[str, str]  # model.weights of each network
    accuracy: float  # mean of the same runs
    networks_left_out: list[str]
    seeds_left_out: list[Repeat]


def adjust(rows: Sequence[Group]) -> Adjusted:
    """The grid of rows, each network against the mean network.

    Raises:
        LookupError: no seed has the whole grid, or a network has two rows of one data set.
    """
    cells: dict[tuple[str, str], dict[Repeat, Run]] = {}
    for row in rows:
        if (row.model, row.data) in cells:
            raise LookupError(f"several rows are of {row.model} on {row.data}")
        cells[row.model, row.data] = {run.repeat: run for run in row.runs}
    data = sorted({data for _, data in cells})
    every = sorted({model for model, _ in cells})
    models = [model for model in every if all((model, each) in cells for each in data)]
    grid = [cells[model, each] for model in models for each in data]
    seeds = sorted(set.intersection(*map(set, grid))) if grid else []
    if not seeds:
        raise LookupError("no seed has every network on every data set")
    found: dict[str, list[float]] = {model: [] for model in models}
    for seed in seeds:
        odds = {(model, each): log_odds(cells[model, each][seed]) for model in models for each in data}
        mean = {each: math.fsum(odds[model, each] for model in models) / len(models) for each in data}
        for model in models:
            found[model].append(math.fsum(odds[model, each] - mean[each] for each in data) / len(data))
    stats = {model: stat(values) for model, values in found.items()}
    used = [cell[seed].accuracy for cell in grid for seed in seeds]
    return Adjusted(
        {model: each for model, each in stats.items() if each is not None},
        {model: _weights(cells[model, data[0]][seeds[0]]) for model in models},
        math.fsum(used) / len(used),
        sorted(set(every) - set(models)),
        sorted({seed for cell in grid for seed in cell} - set(seeds)),
    )


class Correlation(Figure):
    """Log odds of test accuracy against published ImageNet accuracy: a network a point, a panel for each of `by`.

    As in Kornblith et al. 2019, log odds are taken against those of the mean network on the same data, and averaged
    over data. No correlation is told of fewer than five networks.

    Args:
        by: keys whose values have a panel each, usually `[strategy]`.
        published: published correlations by the panel's name; `source` says where they stand.
    """

    def __init__(
        self,
        title: str,
        by: Sequence[str] = ("strategy",),
        published: Mapping[str, float] | None = None,
        source: str = "",
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.by, self.published, self.source = by, published or {}, source

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        looks = looks_of(comparison, self.by, self.names)
        colours = dict(zip(looks.names, looks.colours, strict=True))
        panels, lacking = self._panels(comparison)
        charts: list[Any] = []
        told: list[str] = []
        sources: dict[str, None] = {}
        without: set[str] = set()
        for name, grid in panels.items():
            known = {model: published.top1(model, grid.weights[model]) for model in grid.spots}
            without |= {model for model, figures in known.items() if figures is None} | set(grid.networks_left_out)
            points = {m: (figures.top1, grid.spots[m]) for m, figures in known.items() if figures is not None}
            if not points:
                raise LookupError("of no network the published ImageNet accuracy is known")
            sources |= {figures.source: None for figures in known.values() if figures is not None}
            found = pearson([x for x, _ in points.values()], [y.mean for _, y in points.values()])
            title = f"{self.shown(name)}, mean {100 * grid.accuracy:.1f} %"
            charts.append(self._panel(points, colours[self.shown(name)], found, (title, len(panels))))
            told.append(self._describe(name, found, len(points)))
            if grid.seeds_left_out:
                seeds = ", ".join(map(str, grid.seeds_left_out))
                told.append(f"{self.shown(name)} is without seed {seeds}, of which runs are missing.")
        if without:
            names = ", ".join(sorted(without))
            told.append(f"Left out, as data or a published accuracy of the weights in use is missing: {names}.")
        return charts, " ".join([*told, *lacking, f"ImageNet accuracies: {'; '.join(sources)}."])

    def _panels(self, comparison: Comparison) -> tuple[dict[str, Adjusted], list[str]]:
        """What each panel shows, and what is said of those that have nothing to show."""
        panels: dict[str, Adjusted] = {}
        lacking: list[str] = []
        for name, rows in series(comparison, self.by).items():
            try:
                panels[name] = adjust(rows)
            except LookupError as error:
                lacking.append(f"{self.shown(name)} is not drawn: {error.args[0]}.")
        if not panels:
            raise LookupError(" ".join(lacking).removesuffix("."))
        return panels, lacking

    def _panel(
        self, points: Mapping[str, tuple[float, Stat]], colour: str, found: Pearson | None, place: tuple[str, int]
    ) -> Any:
        marks: list[dict[str, Any]] = []
        for model, (x, y) in points.items():
            half = y.interval
            ends = {"low": None, "high": None} if half is None else {"low": y.mean - half, "high": y.mean + half}
            marks.append({"label": self.shown(model), "tag": self.shown(model), "x": x, "y": y.mean} | ends)
        looks = Looks([mark["label"] for mark in marks], [colour] * len(marks), ["circle"] * len(marks))
        line = [] if found is None else _fit([mark["x"] for mark in marks], [mark["y"] for mark in marks])
        words = f"r = {found.r:.2f} ({found.low:.2f} to {found.high:.2f})" if found else f"{len(points)} networks: no r"
        titles = ("published ImageNet top-1, %", "log odds of test accuracy, against the mean network's")
        chart = draw_scatter(
            marks,
            titles,
            looks,
            front=line,
            stepped=False,
            log=False,
            legend=False,
            number="plain",
            panels=place[1],
            limits=find_limits(marks, log=False, share=False),
        )
        return chart.properties(title=f"{place[0]}: {words}")

    def _describe(self, name: str, found: Pearson | None, networks: int) -> str:
        beside = f"published: {self.published[name]:.2f}" if name in self.published else ""
        if found is None:
            few = f"{self.shown(name)}: no correlation is told of {networks} networks"
            return f"{few} ({beside})." if beside else f"{few}."
        interval = f"95 % interval {found.low:.2f} to {found.high:.2f}, {found.n} networks"
        return f"{self.shown(name)}: r = {found.r:.2f} ({', '.join(filter(None, [interval, beside]))})."


def _fit(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """The ends of the straight line of least squares."""
    from scipy import stats

    line = stats.linregress(x, y)
    return [(end, float(line.intercept + line.slope * end)) for end in (min(x), max(x))]
