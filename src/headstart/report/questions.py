"""Plots made for a study's question; its config names them under ``figures``, each with the keys it looks at.

A figure's constructor takes what the config says, and its ``draw`` gives a section of the page. Rows are told apart by
dotted config keys, such as ``model.args.order``, or by ``model``, ``strategy`` or ``data``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError
from headstart.report.groups import Comparison, Group, Stat, natural, plain, stat
from headstart.report.sections import Picture, Section
from headstart.report.study import Run
from headstart.report.style import COLOURS, INK, MARKS, MUTED, place_labels, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = {
    "params.total": "parameters",
    "gmacs": "GMACs per image",
    "ms_per_image": "ms per image on this machine",
    "seconds.fit": "seconds of training",
    "seconds.total": "seconds in all",
}


class Figure(ABC):
    """One plot; ``title`` heads its section, ``caption`` says how to read it, ``names`` has words for rows' values."""

    def __init__(self, title: str, caption: str = "", names: Mapping[str, str] | None = None) -> None:
        self.title, self.caption, self.names = title, caption, names or {}

    def shown(self, name: str) -> str:
        """A row's values as the plot writes them."""
        return self.names.get(name, name)

    @abstractmethod
    def fill(self, comparison: Comparison, path: Path) -> str:
        """Draw into a PNG file; returns what a reader has to be told besides the caption.

        Raises:
            LookupError: the study's runs do not hold what it needs; the message says what.
        """

    def draw(self, comparison: Comparison, path: Path) -> Section:
        """The section of the page; where something is missing it has words and no picture."""
        try:
            told = self.fill(comparison, path)
        except LookupError as error:
            return Section(self.title, f"Not drawn: {error.args[0]}.", [])
        return Section(self.title, " ".join(filter(None, [self.caption, told])), [Picture(path, self.title)])


def value(group: Group, key: str) -> Any:
    """A row's value of a dotted config key, of ``model``, ``strategy`` or ``data``."""
    if key in ("model", "strategy", "data"):
        return getattr(group, key)
    return (group.runs[0].config or {}).get(key)


def name_of(group: Group, keys: Sequence[str]) -> str:
    """A row's values of some keys, as a label."""
    return " ".join(plain(value(group, key)) for key in keys if value(group, key) is not None)


def series(comparison: Comparison, keys: Sequence[str]) -> dict[str, list[Group]]:
    """The rows by their values of some keys, in natural order."""
    found: dict[tuple[Any, ...], list[Group]] = {}
    for group in comparison.groups:
        found.setdefault(tuple(value(group, key) for key in keys), []).append(group)
    ordered = sorted(found.items(), key=lambda item: natural(*item[0]))
    return {name_of(rows[0], keys) or "all": rows for _, rows in ordered}


def known(group: Group, path: str) -> Stat:
    """A number of `result.json` over a row's seeds; raises LookupError where a run lacks it."""
    found = group.over_runs(lambda run: run.number(path))
    if found is None:
        raise LookupError(f"a run of {group.model} has no {path}")
    return found


def with_error(axes: Axes, x: float, found: Stat, colour: str, mark: str = "o") -> None:
    """A mean in percent with its 95 % interval."""
    y = 100 * found.mean
    if found.interval is not None:
        half = 100 * found.interval
        axes.plot([x, x], [y - half, y + half], color=colour, linewidth=5, alpha=0.28, solid_capstyle="butt", zorder=2)
    axes.plot([x], [y], mark, color=colour, markersize=8, markeredgecolor="white", zorder=4)


class Scatter(Figure):
    """Test accuracy against one or more costs, a panel each.

    Args:
        x: dotted paths in `result.json`, such as ``params.total``, ``gmacs``, ``ms_per_image``.
        by: keys whose values share a colour; ``label``: those that name a point.
        connect: draw a line through the points of a colour, in the order of the cost.
    """

    def __init__(
        self,
        title: str,
        x: Sequence[str],
        by: Sequence[str],
        label: Sequence[str] = (),
        connect: bool = False,
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.x, self.by, self.label, self.connect = x, by, label, connect

    def fill(self, comparison: Comparison, path: Path) -> str:
        from matplotlib.lines import Line2D

        colours = series(comparison, self.by)
        figure = sheet(max(5.6, 4.3 * len(self.x)), 4.4)
        panels = [figure.add_subplot(1, len(self.x), place + 1) for place in range(len(self.x))]
        for axes, cost in zip(panels, self.x, strict=True):
            points = []
            for rank, rows in enumerate(colours.values()):
                colour = COLOURS[rank % len(COLOURS)]
                spots = sorted(((known(row, cost).mean, row) for row in rows), key=lambda spot: spot[0])
                for x, row in spots:
                    with_error(axes, x, row.accuracy, colour, MARKS[rank % len(MARKS)])
                    points.append((x, 100 * row.accuracy.mean, self.shown(name_of(row, self.label))))
                if self.connect:
                    heights = [100 * row.accuracy.mean for _, row in spots]
                    axes.plot([x for x, _ in spots], heights, color=colour, linewidth=1.4, alpha=0.7, zorder=3)
            _cost_axis(axes, cost, [x for x, _, _ in points])
            drawn = _neighbours(colours, cost) if self.connect else ()
            taken = [(x, y) for x, y, _ in points] + [place for ends in drawn for place in _along(*ends)]
            place_labels(axes, [point for point in points if point[2]], taken)
        panels[0].set_ylabel("test accuracy, %", color=MUTED)
        if len(colours) > 1 and list(self.label) != list(self.by):
            keys = [
                Line2D(
                    [], [], color=COLOURS[rank % len(COLOURS)], marker=MARKS[rank % len(MARKS)], label=self.shown(name)
                )
                for rank, name in enumerate(colours)
            ]
            figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 5), frameon=False, fontsize=9.5)
        save(figure, path)
        return ""


Spot = tuple[float, float]


def _neighbours(colours: Mapping[str, Sequence[Group]], cost: str) -> Iterator[tuple[Spot, Spot]]:
    """The ends of each piece of the lines that join a colour's points, as cost and percent."""
    for rows in colours.values():
        spots = sorted((known(row, cost).mean, 100 * row.accuracy.mean) for row in rows)
        yield from pairwise(spots)


def _along(start: Spot, end: Spot, pieces: int = 12) -> list[Spot]:
    """Places on a straight piece of line, on a logarithmic axis where costs are above 0; labels keep out of them."""
    (x, y), (to_x, to_y) = start, end
    shares = [step / pieces for step in range(1, pieces)]
    return [(x * (to_x / x) ** share if x > 0 else x + share * (to_x - x), y + share * (to_y - y)) for share in shares]


def _cost_axis(axes: Axes, cost: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from headstart.report.columns import count

    axes.grid(axis="both")
    axes.tick_params(length=0)
    axes.set_xlabel(COSTS.get(cost, cost), color=MUTED)
    if min(values) <= 0:
        return
    axes.set_xscale("log")
    low, high = min(values) / 1.5, max(values) * 1.5
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 40 else (1.0,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x).replace(".0", "") if x >= 1000 else f"{x:g}"))


class Levels(Figure):
    """Test error at each value of a key, in the order of the published errors or of the config, with those beside it.

    Args:
        by: the key; ``split``: keys whose values have a colour each.
        order: its values from top to bottom, as text; those not named follow.
        published: percent of error by value, drawn as a hollow diamond; ``source`` says where it stands.
        data: the data of the published errors; beside rows of other data they have an axis of their own.
    """

    def __init__(
        self,
        title: str,
        by: Sequence[str],
        split: Sequence[str] = (),
        order: Sequence[str] = (),
        published: Mapping[str, float] | None = None,
        source: str = "",
        data: str = "",
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.by, self.split, self.order, self.data = by, split, [str(level) for level in order], data
        self.published, self.source = {str(level): error for level, error in (published or {}).items()}, source

    def fill(self, comparison: Comparison, path: Path) -> str:
        levels = series(comparison, self.by)
        names = [name for name in self.order if name in levels] + [name for name in levels if name not in self.order]
        colours = {name: COLOURS[rank % len(COLOURS)] for rank, name in enumerate(series(comparison, self.split))}
        apart = bool(self.published and self.data) and any(row.data != self.data for row in comparison.groups)
        figure = sheet(8.2, 1.3 + 0.55 * len(names))
        axes = figure.add_subplot(1, 3, (1, 2)) if apart else figure.add_subplot()
        beside = figure.add_subplot(1, 3, 3, sharey=axes) if apart else axes
        for y, name in enumerate(names):
            for rank, row in enumerate(
                sorted(levels[name], key=lambda row: natural(*(value(row, key) for key in self.split)))
            ):
                _level(
                    axes,
                    y + 0.16 * (rank - (len(levels[name]) - 1) / 2),
                    row,
                    colours[name_of(row, self.split) or "all"],
                )
            if name in self.published:
                beside.plot(
                    [self.published[name]], [y], "D", markerfacecolor="white", color=INK, markersize=7, zorder=5
                )
        axes.set_yticks(range(len(names)), [self.shown(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        for panel in dict.fromkeys((axes, beside)):
            panel.grid(axis="x")
            panel.tick_params(length=0, labelleft=panel is axes)
            panel.set_xlabel("test error, %", color=MUTED)
        if apart:
            axes.set_title("here, on " + ", ".join(sorted({row.data for row in comparison.groups})))
            beside.set_title(f"published, on {self.data}")
        named = {self.shown(name): colour for name, colour in colours.items()}
        _legend(figure, named if len(colours) > 1 else {}, {} if apart else self.published)
        save(figure, path)
        return f"Hollow diamonds: {self.source}." if self.published else ""


def _level(axes: Axes, y: float, row: Group, colour: str) -> None:
    found, error = row.accuracy, 100 * (1 - row.accuracy.mean)
    if found.interval is not None:
        half = 100 * found.interval
        axes.plot(
            [error - half, error + half], [y, y], color=colour, linewidth=6, alpha=0.28, solid_capstyle="butt", zorder=2
        )
        axes.plot(
            [100 * (1 - run.accuracy) for run in row.runs], [y] * len(row.runs), ".", color=colour, alpha=0.6, zorder=3
        )
    axes.plot([error], [y], "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)


def _legend(figure: Any, colours: Mapping[str, str], published: Mapping[str, float]) -> None:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=colour, linewidth=4, label=name) for name, colour in colours.items()]
    if published:
        keys.append(Line2D([], [], color=INK, marker="D", linestyle="", markerfacecolor="white", label="published"))
    if keys:
        figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 5), frameon=False, fontsize=9.5)


class Errors(Figure):
    """Training and validation error by epoch, the mean over seeds; a colour for each value of ``by`` as it is shown.

    Args:
        panels: keys whose values have a panel each; or panels by title, with the values of ``by`` that they hold.
            Without them, the two errors have a panel each.
    """

    def __init__(
        self,
        title: str,
        by: Sequence[str],
        panels: Sequence[str] | Mapping[str, Sequence[str]] = (),
        caption: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title, caption, names)
        self.by, self.panels = by, panels

    def fill(self, comparison: Comparison, path: Path) -> str:
        from matplotlib.lines import Line2D

        shown = list(dict.fromkeys(self.shown(name) for name in series(comparison, self.by)))
        colours = {name: COLOURS[rank % len(COLOURS)] for rank, name in enumerate(shown)}
        panels = self._panels(comparison)
        figure = sheet(max(6.4, 4.3 * len(panels)), 4.2)
        first: Any = None
        for place, (title, (rows, kinds)) in enumerate(panels.items(), start=1):
            first = axes = figure.add_subplot(1, len(panels), place, sharey=first)
            for row in rows:
                colour = colours[self.shown(name_of(row, self.by) or "all")]
                for kind in kinds:
                    epochs, errors = _by_epoch(row, "metrics.csv", f"{kind}_accuracy", lambda share: 100 * (1 - share))
                    dashed = len(kinds) > 1 and kind == "train"
                    axes.plot(epochs, errors, "--" if dashed else "-", color=colour, linewidth=1.6)
            axes.set_title(title)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            axes.tick_params(length=0, labelleft=place == 1)
            axes.set_xlabel("epoch", color=MUTED)
        figure.axes[0].set_ylabel("error, %", color=MUTED)
        keys = [Line2D([], [], color=colour, linewidth=4, label=name) for name, colour in colours.items()]
        if self.panels:
            keys += [Line2D([], [], color=MUTED, label="validation")]
            keys += [Line2D([], [], color=MUTED, linestyle="--", label="training")]
        figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 4), frameon=False, fontsize=9.5)
        save(figure, path)
        return "The training error is that of the batches as the epoch ran, the validation error that after it."

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
            if line.get(column):
                found.setdefault(int(line["epoch"]), []).append(shown(float(line[column])))
    if not found:
        raise LookupError(f"no run of {row.model} has {column} in {file}")
    epochs = sorted(epoch for epoch, values in found.items() if len(values) == len(row.runs))
    return epochs, [math.fsum(found[epoch]) / len(found[epoch]) for epoch in epochs]


class Gradients(Figure):
    """The size of each layer's gradient, from the input to the head, after the first and the last epoch."""

    def __init__(
        self, title: str, by: Sequence[str], caption: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title, caption, names)
        self.by = by

    def fill(self, comparison: Comparison, path: Path) -> str:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        rows = series(comparison, self.by)
        figure = sheet(9.4, 4.0)
        first: Any = None
        for place, (when, title) in enumerate(((min, "first epoch"), (max, "last epoch")), start=1):
            first = axes = figure.add_subplot(1, 2, place, sharey=first)
            for rank, (name, groups) in enumerate(rows.items()):
                layers, sizes = _layers(groups[0].runs, when)
                axes.plot(layers, sizes, color=COLOURS[rank % len(COLOURS)], linewidth=1.5, label=name)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(title)
            axes.grid(axis="y")
            axes.tick_params(which="both", length=0, labelleft=place == 1)
            axes.set_xlabel("share of the way from input to head", color=MUTED)
        figure.axes[0].set_ylabel("gradient, root mean square", color=MUTED)
        _legend(figure, {self.shown(name): COLOURS[rank % len(COLOURS)] for rank, name in enumerate(rows)}, {})
        save(figure, path)
        return ""


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


class Response(Figure):
    """Test accuracy over the size of a change of the images, a panel for each change."""

    def __init__(self, title: str, by: Sequence[str], caption: str = "") -> None:
        super().__init__(title, caption)
        self.by = by

    def fill(self, comparison: Comparison, path: Path) -> str:
        rows = series(comparison, self.by)
        changes = list(
            dict.fromkeys(line["change"] for run in comparison.study.runs for line in run.rows("changes.csv"))
        )
        if not changes:
            raise LookupError("no run has a changes.csv")
        figure = sheet(max(5.6, 3.9 * len(changes)), 4.0)
        first: Any = None
        for place, change in enumerate(changes, start=1):
            first = axes = figure.add_subplot(1, len(changes), place, sharey=first)
            for rank, groups in enumerate(rows.values()):
                _response(axes, [run for group in groups for run in group.runs], change, COLOURS[rank % len(COLOURS)])
            axes.set_title(change)
            axes.grid(axis="y")
            axes.tick_params(length=0)
            axes.set_xlabel(AMOUNTS.get(change, ""), color=MUTED)
        figure.axes[0].set_ylabel("test accuracy, %", color=MUTED)
        _legend(figure, {name: COLOURS[rank % len(COLOURS)] for rank, name in enumerate(rows)}, {})
        save(figure, path)
        return "Bands are 95 % intervals over seeds."


AMOUNTS = {"shift": "share of the side", "scale": "factor", "stroke": "pixels on each side of a stroke"}


def _response(axes: Axes, runs: Sequence[Run], change: str, colour: str) -> None:
    found: dict[float, list[float]] = {}
    for run in runs:
        for line in run.rows("changes.csv"):
            if line["change"] == change:
                found.setdefault(float(line["size"]), []).append(100 * float(line["accuracy"]))
    sizes = sorted(found)
    stats = [stat(found[size]) for size in sizes]
    means = [each.mean for each in stats if each is not None]
    halves = [each.interval or 0.0 for each in stats if each is not None]
    axes.plot(sizes, means, "o-", color=colour, linewidth=1.7, markersize=4, zorder=3)
    low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
    axes.fill_between(sizes, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)


def asked(comparison: Comparison) -> dict[str, Figure]:
    """The figures that the study's newest run names in its config.

    Raises:
        UserError: it names something that is no figure.
    """
    import yaml

    from headstart import config as configs

    newest = max(comparison.study.runs, key=lambda run: (run.folder / "result.json").stat().st_mtime)
    loaded = yaml.safe_load((newest.folder / "config.yaml").read_text("utf-8")) or {}
    found = {}
    for name, node in (loaded.get("figures") or {}).items():
        figure = configs.build(node)
        if not isinstance(figure, Figure):
            raise UserError(f"figures.{name}: {node.get('_target_')} is no figure; see headstart.report.questions")
        found[str(name)] = figure
    return found
