"""What every figure made for a study's question has: its words, its rows by config keys, and their looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.effect import NO_EFFECT
from headstart.report.charts.render import make_spec, write_png
from headstart.report.charts.theme import Looks, Palette, colour_names
from headstart.report.sections import Picture, Plot, Section
from headstart.report.study.groups import Comparison, Group, Stat, natural, plain
from headstart.report.study.varying import split_by


@dataclass(init=False, eq=False)
class Figure:
    """One figure; `title` heads its section, `caption` says how to read it, `names` has words for rows' values.

    One of your own has `charts`, or, if it draws by other means than Altair, `fill`; it is a dataclass, or has an
    `__init__` that calls this one.
    """

    title: str
    caption: str = field(default="", kw_only=True)
    names: Mapping[str, str] | None = field(default=None, kw_only=True)

    def __init__(self, title: str, caption: str = "", names: Mapping[str, str] | None = None) -> None:
        self.title, self.caption, self.names = title, caption, names

    def shown(self, name: str) -> str:
        """A row's values as the figure writes them."""
        return (self.names or {}).get(name, name)

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        """Its Altair charts, and what a reader has to be told besides the caption.

        Raises:
            LookupError: the study's runs do not hold what it needs; the message says what.
        """
        raise LookupError(f"{type(self).__name__} has no charts")

    def fill(self, comparison: Comparison, path: Path) -> str:
        """Draw into a PNG file; returns what a reader has to be told besides the caption."""
        charts, told = self.charts(comparison)
        write_png([make_spec(chart) for chart in charts], path)
        return told

    def draw(self, comparison: Comparison, path: Path) -> Section:
        """The section of the page; where something is missing it has words and no picture."""
        drawn: Picture | Plot
        try:
            if type(self).fill is not Figure.fill:
                told, drawn = self.fill(comparison, path), Picture(path, self.title)
            else:
                charts, told = self.charts(comparison)
                drawn = Plot(path.stem, charts, self.title, wide=len(charts) == 1)
        except LookupError as error:
            return Section(self.title, f"Not drawn: {error.args[0]}.", [])
        return Section(self.title, " ".join(filter(None, [self.caption, told])), [drawn])


@dataclass(eq=False)
class Unbuilt(Figure):
    """Stands where a figure could not be made of what the config says, and tells why."""

    reason: str

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
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

    def values(group: Group) -> tuple[Any, ...]:
        return tuple(value(group, key) for key in keys)

    found = sorted(split_by(comparison.groups, values), key=lambda rows: natural(*values(rows[0])))
    return {name_of(rows[0], keys) or "all": rows for rows in found}


def looks_of(comparison: Comparison, keys: Sequence[str], figure: Figure) -> Looks:
    """Looks for each of `series` under the figure's words; strategies have theirs of the report's other charts."""
    found = series(comparison, keys)
    names = list(dict.fromkeys(map(figure.shown, found)))
    if list(keys) != ["strategy"] or len(names) < len(found):
        return colour_names(names)
    palette = Palette(comparison.groups)
    rows = [rows[0] for rows in found.values()]
    return Looks(names, [*map(palette.colour, rows)], colour_names(names).shapes)


def number_of(comparison: Comparison, group: Group) -> int:
    """The row's place in the comparison, by which the page filters."""
    return next(place for place, other in enumerate(comparison.groups) if other is group)


def known(group: Group, path: str) -> Stat:
    """A number over a row's seeds: `seconds` with a cold cache, else one of `result.json`.

    Raises LookupError where a run lacks it.
    """
    found = group.over_runs(lambda run: run.seconds if path == "seconds" else run.number(path))
    if found is None:
        raise LookupError(f"a run of {group.model} has no {path}")
    return found


def percent(found: Stat) -> dict[str, float | None]:
    """A mean in percent with the ends of its 95 % interval, as a chart's `y`."""
    return {"y": 100 * found.mean, **found.ends(100)}
