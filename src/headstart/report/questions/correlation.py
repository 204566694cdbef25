"""Transfer accuracy over networks' published ImageNet accuracy (Kornblith et al. 2019)."""

import math
from collections import Counter
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
    from pandas import DataFrame

    names = [(row.model, row.data) for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise LookupError(f"several rows are of {' on '.join(name)}")
    data = {name for _, name in names}
    models = sorted(model for model, count in Counter(model for model, _ in names).items() if count == len(data))
    lacking = LookupError("no seed has every network on every data set")
    if not models:
        raise lacking
    cells = {
        (*run.repeat, row.model, row.data): (log_odds(run), run.accuracy)
        for row in rows
        for run in row.runs
        if row.model in models
    }
    table = DataFrame(cells, index=["odds", "accuracy"]).T.rename_axis(["seed", "fold", "model", "data"])
    grid = table.unstack(["model", "data"])  # a line for each repeat
    whole = grid.dropna()
    if whole.empty:
        raise lacking
    odds = whole["odds"].T
    apart = (odds - odds.groupby("data").transform("mean")).groupby("model").mean()
    stats = {model: stat(apart.loc[model].tolist()) for model in models}
    weights = {row.model: str((row.runs[0].config or {}).get("model.weights", "")) for row in rows}
    return Adjusted(
        {model: each for model, each in stats.items() if each is not None},
        {model: weights[model] for model in models},
        float(whole["accuracy"].to_numpy().mean()),
        sorted({model for model, _ in names} - set(models)),
        [Repeat(*repeat) for repeat in grid.index.difference(whole.index)],
    )


@dataclass(eq=False)
class Correlation(Figure):
    """Log odds of test accuracy against published ImageNet accuracy: a network a point, a panel for each of `by`.

    As in Kornblith et al. 2019, log odds are taken against those of the mean network on the same data, and averaged
    over data. No correlation is told of fewer than five networks.

    Args:
        by: keys whose values have a panel each, usually `[strategy]`.
        published: published correlations by the panel's name; `source` says where they stand.
    """

    by: Sequence[str] = ("strategy",)
    published: Mapping[str, float] | None = None
    source: str = ""

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        looks = looks_of(comparison, self.by, self)
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
            marks.append({"label": self.shown(model), "tag": self.shown(model), "x": x, "y": y.mean} | y.ends())
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
        theirs = (self.published or {}).get(name)
        beside = "" if theirs is None else f"published: {theirs:.2f}"
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
