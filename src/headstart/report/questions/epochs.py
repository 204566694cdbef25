"""What happens by epoch: errors and the sizes of gradients."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.report.groups import Comparison, Group
from headstart.report.questions.figure import Figure, legend, name_of, series
from headstart.report.study import Run
from headstart.tracking.plot_style import COLOURS, MUTED, save, sheet


class Errors(Figure):
    """Training and validation error by epoch, the mean over seeds; a colour for each value of `by` as it is shown.

    Args:
        panels: keys whose values have a panel each; or panels by title, with the values of `by` that they hold.
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
        legend(figure, {self.shown(name): COLOURS[rank % len(COLOURS)] for rank, name in enumerate(rows)}, {})
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
