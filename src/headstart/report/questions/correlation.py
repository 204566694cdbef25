"""Transfer accuracy over networks' published ImageNet accuracy (Kornblith et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.models import published
from headstart.report.groups import Comparison, Group, Stat, stat
from headstart.report.questions.figure import Figure, colours_of, series
from headstart.report.study import Repeat, Run
from headstart.report.style import place_labels
from headstart.tracking.plot_style import MUTED, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

    def fill(self, comparison: Comparison, path: Path) -> str:
        colours = colours_of(comparison, self.by)
        panels, lacking = self._panels(comparison)
        figure = sheet(max(5.4, 4.0 * len(panels)), 4.3)
        first: Any = None
        told: list[str] = []
        sources: dict[str, None] = {}
        without: set[str] = set()
        for place, (name, grid) in enumerate(panels.items(), start=1):
            known = {model: published.top1(model, grid.weights[model]) for model in grid.spots}
            without |= {model for model, figures in known.items() if figures is None} | set(grid.networks_left_out)
            points = {m: (figures.top1, grid.spots[m]) for m, figures in known.items() if figures is not None}
            if not points:
                raise LookupError("of no network the published ImageNet accuracy is known")
            sources |= {figures.source: None for figures in known.values() if figures is not None}
            found = pearson([x for x, _ in points.values()], [y.mean for _, y in points.values()])
            first = axes = figure.add_subplot(1, len(panels), place, sharey=first)
            self._panel(axes, points, colours[name], found)
            axes.set_title(f"{self.shown(name)}, mean {100 * grid.accuracy:.1f} %")
            axes.tick_params(length=0, labelleft=place == 1)
            told.append(self._describe(name, found, len(points)))
            if grid.seeds_left_out:
                seeds = ", ".join(map(str, grid.seeds_left_out))
                told.append(f"{self.shown(name)} is without seed {seeds}, of which runs are missing.")
        figure.axes[0].set_ylabel("log odds of test accuracy,\nagainst the mean network's", color=MUTED)
        save(figure, path)
        if without:
            names = ", ".join(sorted(without))
            told.append(f"Left out, as data or a published accuracy of the weights in use is missing: {names}.")
        return " ".join([*told, *lacking, f"ImageNet accuracies: {'; '.join(sources)}."])

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

    def _panel(self, axes: Axes, points: Mapping[str, tuple[float, Stat]], colour: str, found: Pearson | None) -> None:
        for x, y in points.values():
            if y.interval is not None:
                ends = [y.mean - y.interval, y.mean + y.interval]
                axes.plot([x, x], ends, color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt", zorder=2)
            axes.plot([x], [y.mean], "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)
        if found is not None:
            xs, ys = [x for x, _ in points.values()], [y.mean for _, y in points.values()]
            _fit(axes, xs, ys)
        words = f"r = {found.r:.2f} ({found.low:.2f} to {found.high:.2f})" if found else f"{len(points)} networks: no r"
        axes.text(0.03, 0.97, words, transform=axes.transAxes, va="top", color=MUTED)
        axes.margins(0.2)
        axes.grid(axis="both")
        axes.set_xlabel("published ImageNet top-1, %", color=MUTED)
        labels = [(x, y.mean, self.shown(model)) for model, (x, y) in points.items()]
        place_labels(axes, labels, [(x, y) for x, y, _ in labels])

    def _describe(self, name: str, found: Pearson | None, networks: int) -> str:
        beside = f"published: {self.published[name]:.2f}" if name in self.published else ""
        if found is None:
            few = f"{self.shown(name)}: no correlation is told of {networks} networks"
            return f"{few} ({beside})." if beside else f"{few}."
        interval = f"95 % interval {found.low:.2f} to {found.high:.2f}, {found.n} networks"
        return f"{self.shown(name)}: r = {found.r:.2f} ({', '.join(filter(None, [interval, beside]))})."


def _fit(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """The straight line of least squares."""
    from scipy import stats

    line = stats.linregress(x, y)
    ends = [min(x), max(x)]
    axes.plot(ends, [line.intercept + line.slope * end for end in ends], "--", color=MUTED, linewidth=1.2, zorder=1)
