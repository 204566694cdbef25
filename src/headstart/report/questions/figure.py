"""What every figure made for a study's question has: its words, its rows by config keys, and its legend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.effect import NO_EFFECT
from headstart.report.groups import Comparison, Group, Stat, natural, plain
from headstart.report.sections import Picture, Section
from headstart.report.style import Palette
from headstart.tracking.plot_style import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Figure(ABC):
    """One plot; `title` heads its section, `caption` says how to read it, `names` has words for rows' values."""

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


class Unbuilt(Figure):
    """Stands where a figure could not be made of what the config says, and tells why."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(title)
        self.reason = reason

    def fill(self, comparison: Comparison, path: Path) -> str:
        raise LookupError(self.reason)


def value(group: Group, key: str) -> Any:
    """A row's value of a dotted config key, of `model`, `strategy` or `data`."""
    if key in ("model", "strategy", "data"):
        return getattr(group, key)
    found = (group.runs[0].config or {}).get(key)
    return None if found == NO_EFFECT else found


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


def colours_of(comparison: Comparison, keys: Sequence[str]) -> dict[str, str]:
    """A colour for each of `series`; strategies have theirs of the report's other plots."""
    found = series(comparison, keys)
    if list(keys) == ["strategy"]:
        palette = Palette(comparison.groups)
        return {name: palette.colour(rows[0]) for name, rows in found.items()}
    return {name: COLOURS[rank % len(COLOURS)] for rank, name in enumerate(found)}


def known(group: Group, path: str) -> Stat:
    """A number over a row's seeds: `seconds` with a cold cache, else one of `result.json`.

    Raises LookupError where a run lacks it.
    """
    found = group.over_runs(lambda run: run.seconds if path == "seconds" else run.number(path))
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


def legend(figure: Any, colours: Mapping[str, str], published: Mapping[str, float]) -> None:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=colour, linewidth=4, label=name) for name, colour in colours.items()]
    if published:
        keys.append(Line2D([], [], color=INK, marker="D", linestyle="", markerfacecolor="white", label="published"))
    if keys:
        figure.legend(handles=keys, loc="outside upper left", ncols=min(len(keys), 5), frameon=False, fontsize=9.5)
