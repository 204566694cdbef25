"""Test error at each value of a key, beside published errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headstart.report.charts.levels import count_lanes, draw_levels
from headstart.report.charts.theme import colour_names
from headstart.report.questions.figure import Figure, name_of, number_of, series
from headstart.report.study.groups import Comparison, Group


@dataclass(eq=False)
class Levels(Figure):
    """Test error at each value of a key, in the order of the published errors or of the config, with those beside it.

    Args:
        by: the key; `split`: keys whose values have a colour each.
        order: its values from top to bottom, as text; those not named follow.
        published: percent of error by value, drawn as a hollow diamond; `source` says where it stands.
        data: the data of the published errors; beside rows of other data they have an axis of their own.
    """

    by: Sequence[str]
    split: Sequence[str] = ()
    order: Sequence[str] = ()
    published: Mapping[str, float] | None = None
    source: str = ""
    data: str = ""

    def charts(self, comparison: Comparison) -> tuple[list[Any], str]:
        found = series(comparison, self.by)
        published = {str(level): error for level, error in (self.published or {}).items()}
        first = [name for name in map(str, self.order) if name in found]
        names = list(dict.fromkeys([*first, *found]))
        looks = colour_names([self.shown(name) for name in series(comparison, self.split)])
        apart = bool(published and self.data) and any(row.data != self.data for row in comparison.groups)
        points: list[dict[str, Any]] = []
        for name in names:
            for row in found[name]:
                facts = {"row": number_of(comparison, row), "level": self.shown(name)}
                points += _marks(row, facts | {"label": self.shown(name_of(row, self.split) or "all")})
        others = [{"level": self.shown(name), "x": published[name]} for name in names if name in published]
        levels = [self.shown(name) for name in names]
        here = "here, on " + ", ".join(sorted({row.data for row in comparison.groups})) if apart else ""
        unnamed = len(self.by) > 1 and any(self.shown(name) == name for name in names)
        words = " ".join(key.rpartition(".")[2] for key in self.by) if unnamed else None
        lanes = count_lanes(points, levels)
        draw = partial(draw_levels, levels=levels, axis="test error, %", looks=looks, lanes=lanes, names=words)
        charts = [draw(points if apart else [*points, *others], title=here)]
        if apart:
            charts.append(draw(others, title=f"published, on {self.data}"))
        return charts, f"Hollow diamonds: {self.source}." if published else ""


def _marks(row: Group, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """A row's error, and each seed's where there are several."""
    error, half = 100 * (1 - row.accuracy.mean), row.accuracy.interval
    ends = (None, None) if half is None else (error - 100 * half, error + 100 * half)
    marks = [facts | {"x": error, "low": ends[0], "high": ends[1]}]
    seeds = [facts | {"x": 100 * (1 - run.accuracy), "seed": str(run.repeat)} for run in row.runs]
    return [*marks, *(seeds if half is not None else [])]
