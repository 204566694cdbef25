"""How every chart looks: fonts, quiet axes, and a colour and shape for each row, the same in all charts of a study.

The page shows the charts as SVG, whose light colours its style sheet replaces where the reader's setting is dark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.study.groups import Group, plain
from headstart.report.study.varying import is_task_key
from headstart.tracking.plot_style import BASELINE, COLOURS, INK, MUTED, RULE

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
# The strategies that most studies hold have the same colour in all of them.
FIRST = ("feature_extraction", "finetune", "head_then_all")
AXIS = {"labelColor": INK, "titleColor": MUTED, "gridColor": RULE, "domain": False, "ticks": False}
AXIS |= {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "labelPadding": 6, "titlePadding": 8}
LEGEND = {"orient": "top", "title": None, "labelFontSize": 11.5, "labelLimit": 340, "labelColor": INK}
LEGEND |= {"symbolSize": 80, "symbolOpacity": 1, "rowPadding": 4, "columnPadding": 16}
CONFIG: dict[str, Any] = {
    "font": "DejaVu Sans, Verdana, sans-serif",
    "background": "white",
    "view": {"stroke": None},
    "axis": AXIS,
    "axisQuantitative": {"labelOverlap": "greedy", "labelSeparation": 8},
    "axisXQuantitative": {"tickCount": 8},
    "axisYQuantitative": {"tickCount": 6},
    "legend": LEGEND,
    "title": {"anchor": "start", "fontSize": 13, "color": INK, "fontWeight": 600},
    "text": {"color": INK, "fontSize": 11},
    "rule": {"color": MUTED},
}
MOST_IN_LEGEND = 30
TURNS = ((0, 0.0), (0, 0.45), (255, 0.45), (0, 0.25), (255, 0.25), (0, 0.65), (255, 0.65))  # towards which, how far


@dataclass(frozen=True)
class Looks:
    """The colours and shapes of names, for a legend and for what is drawn."""

    names: Sequence[str]
    colours: Sequence[str]
    shapes: Sequence[str]

    def colour(self, legend: bool = True, channel: Any = None) -> Any:
        """The encoding of the label's colour, by default of whole marks."""
        scale = alt.Scale(domain=list(self.names), range=list(self.colours))
        return (channel or alt.Color)("label:N", scale=scale, legend=self._legend(legend))

    def shape(self, legend: bool = True) -> Any:
        """The encoding of the label's shape."""
        scale = alt.Scale(domain=list(self.names), range=list(self.shapes))
        return alt.Shape("label:N", scale=scale, legend=self._legend(legend))

    def _legend(self, wished: bool) -> Any:
        if not wished or not 1 < len(self.names) <= MOST_IN_LEGEND:
            return None
        letters = min(46, max(len(name) for name in self.names))
        return alt.Legend(columns=max(1, 600 // (7 * letters + 40)))  # the page sets them anew for its width


class Palette:
    """A colour for each strategy of a study, and a shape that tells its rows apart.

    Where there is one strategy, colours stand for the models, and where there is one model too, for the rows' settings.
    `scratch` is grey beside other strategies, and twelve colours tell these apart; beyond, they come again darker, then
    lighter. Shapes stand for what else differs (model, settings); where that is more than there are shapes, the colour
    of a strategy comes darker and lighter too. So two rows that differ in any key look different.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        rows = list(groups)
        self.models = sorted({row.model for row in rows})
        self.single = len({row.strategy for row in rows}) == 1
        names = {self.name(row) for row in rows} - (set() if self.single else {"scratch"})
        known = [name for name in FIRST if name in names]
        free = range(0 if self.single else len(FIRST), 1000)
        others = sorted(names - set(known))
        self.slots = {name: FIRST.index(name) for name in known} | dict(zip(others, free, strict=False))
        self.rest = sorted({_rest(row) for row in rows})
        self.ranks: dict[tuple[str, tuple[str, ...]], int] = {}
        for row in rows:
            own = [key for key in self.ranks if key[0] == self.name(row)]
            self.ranks.setdefault((self.name(row), _rest(row)), len(own))

    def name(self, group: Group) -> str:
        """What a row's colour stands for."""
        if not self.single:
            return group.strategy
        return group.model if len(self.models) > 1 else " · ".join(_rest(group)[1:]) or group.strategy

    def colour(self, group: Group) -> str:
        """The row's colour."""
        slot = self.slots.get(self.name(group))
        turn = 0 if len(self.rest) <= len(SHAPES) else self._rank(group) // len(SHAPES)
        if slot is None:
            return shade(BASELINE, turn)
        return shade(COLOURS[slot % len(COLOURS)], slot // len(COLOURS) + turn)

    def shape(self, group: Group) -> str:
        """The row's shape."""
        if len(self.rest) == 1 or (self.single and len(self.models) == 1):
            return SHAPES[self.slots.get(self.name(group), 0) // 6 % len(SHAPES)]
        few = len(self.rest) <= len(SHAPES)
        return SHAPES[self.rest.index(_rest(group)) if few else self._rank(group) % len(SHAPES)]

    def _rank(self, group: Group) -> int:
        return self.ranks[self.name(group), _rest(group)]

    def two(self, one: Group, other: Group) -> tuple[str, str]:
        """Colours of two rows that are set against each other: their own, or ink for the second where those are one."""
        colours = self.colour(one), self.colour(other)
        return colours if colours[0] != colours[1] else (colours[0], INK)

    def looks(self, rows: dict[str, Group]) -> Looks:
        """The looks of rows by the names that a chart gives them."""
        return Looks(list(rows), [*map(self.colour, rows.values())], [*map(self.shape, rows.values())])


def _rest(group: Group) -> tuple[str, ...]:
    """What tells a row from the others of its strategy and task."""
    return (group.model, *(f"{key} {plain(value)}" for key, value in group.keys.items() if not is_task_key(key)))


def shade(colour: str, turn: int) -> str:
    """A colour as it is, then darker, then lighter, in turns."""
    towards, share = TURNS[turn % len(TURNS)]
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + share * (towards - part)):02x}" for part in parts)


def colour_names(names: Sequence[str]) -> Looks:
    """Looks for names that are no rows of the study, in their order."""
    turns = [(place % len(COLOURS), place // len(COLOURS)) for place in range(len(names))]
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    return Looks(list(names), [shade(COLOURS[slot], turn) for slot, turn in turns], shapes)


def compose(
    layers: Sequence[Any], data: dict[str, list[dict[str, Any]]], height: Any, words: str, title: str = ""
) -> Any:
    """One chart of layers over named tables; `words` say what it shows to those who cannot see it."""
    chart = alt.layer(*layers).properties(height=height, description=words)
    chart = chart.properties(title=title) if title else chart
    chart.datasets = data
    return chart


def list_tips(*tips: tuple[str, ...]) -> list[Any]:
    """What the pointer is told: of each field its name with its type, then its title and its format if it has them."""
    return [alt.Tooltip(field, **dict(zip(("title", "format"), more, strict=False))) for field, *more in tips]


def percent_limits(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits in percent around values in percent, within 0..100 and never narrower than 4 points."""
    low, high = min(values), max(values)
    room = max(margin * (high - low), 2.0 - (high - low) / 2, 0.5)
    return max(-1.0, low - room), min(101.0, high + room)


def shorten(text: str, length: int) -> str:
    """The text, cut to a length with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def legible(text: str) -> float:
    """About the width of a text in pixels at 11 px, where an East Asian letter takes two places."""
    return sum(11.5 if ord(letter) > 0x2E80 else 6.7 for letter in text)


OUTLINES = {
    "square": "M-5 -5H5V5H-5Z",
    "triangle-up": "M0 -6L6 5H-6Z",
    "diamond": "M0 -6L5 0L0 6L-5 0Z",
    "cross": "M-6 -2H-2V-6H2V-2H6V2H2V6H-2V2H-6Z",
    "triangle-down": "M0 6L6 -5H-6Z",
    "triangle-right": "M6 0L-5 6V-6Z",
    "triangle-left": "M-6 0L5 6V-6Z",
}


def outline(shape: str) -> str:
    """A shape as the path of an SVG whose middle is 0, 0."""
    return OUTLINES.get(shape, "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0Z")


def brighten(colour: str, least: float = 0.19) -> str:
    """A colour as it stands on a dark page: mixed with white until it is bright enough to be seen there."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    for step in range(20):
        mixed = [round(part + step / 20 * (255 - part)) for part in parts]
        light = sum(weight * _linear(part / 255) for weight, part in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))
        if light >= least:
            break
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
