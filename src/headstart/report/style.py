"""How a report's plots look: a colour and mark per strategy, labels that keep out of each other's way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from headstart.report.groups import Group, is_task_key, plain
from headstart.tracking.plot_style import BASELINE, COLOURS, INK, MARKS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The strategies that most studies hold have the same colour in all of them.
FIRST = ("feature_extraction", "finetune", "head_then_all")


class Palette:
    """A colour for each strategy of a study and a mark for each row, the same in all its plots.

    Where there is one strategy, colours stand for the models, and where there is one model too, for the rows' settings.
    `scratch` is grey beside other strategies, and twelve colours tell these apart; beyond, they come again darker, then
    lighter. The mark stands for the model where a study has several; else it changes with every six strategies, so
    that look-alike colours differ in it.
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
        grey = not self.single and any(row.strategy == "scratch" for row in rows)
        self.names = [*known, *others, *(["scratch"] if grey else [])]

    def name(self, group: Group) -> str:
        """What a row's colour stands for."""
        if not self.single:
            return group.strategy
        if len(self.models) > 1:
            return group.model
        settings = [f"{key} {plain(value)}" for key, value in group.keys.items() if not is_task_key(key)]
        return " · ".join(settings) or group.strategy

    def colour(self, group: Group) -> str:
        """The row's colour."""
        return self._colour(self.name(group))

    def _colour(self, name: str) -> str:
        slot = self.slots.get(name)
        return BASELINE if slot is None else _shade(COLOURS[slot % len(COLOURS)], slot // len(COLOURS))

    def two(self, one: Group, other: Group) -> tuple[str, str]:
        """Colours of two rows that are set against each other: their own, or ink for the second where those are one."""
        colours = self.colour(one), self.colour(other)
        return colours if colours[0] != colours[1] else (colours[0], INK)

    def mark(self, group: Group) -> str:
        """The row's mark, for matplotlib."""
        slot = self.models.index(group.model) if len(self.models) > 1 else self.slots.get(self.name(group), 0) // 6
        return MARKS[slot % len(MARKS)]

    def legend(self, figure: Figure) -> None:
        """Name the colours, and the marks where they stand for models, above a figure's panels."""
        from matplotlib.lines import Line2D

        keys = [Line2D([], [], color=self._colour(name), linewidth=4, label=name) for name in self.names if name]
        if len(self.models) > 1:
            # one key a model where the colour stands for it too
            keys = [] if self.single else keys
            colours = [self._colour(name) if self.single else MUTED for name in self.models]
            marks = zip(self.models, MARKS * len(self.models), colours, strict=False)
            keys += [Line2D([], [], color=ink, marker=mark, linestyle="", label=name) for name, mark, ink in marks]
        if not keys:
            return
        columns = min(len(keys), 3 if max(len(str(key.get_label())) for key in keys) > 20 else 5)
        figure.legend(
            handles=keys,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=9.5,
            handlelength=1.4,
        )


def _shade(colour: str, turn: int) -> str:
    """A colour as it is, then darker, then lighter, in turns."""
    towards, share = ((0, 0.0), (0, 0.45), (255, 0.45))[turn % 3]
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + share * (towards - part)):02x}" for part in parts)


def shorten(text: str, length: int) -> str:
    """The text, cut to a length with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def percent_limits(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits in percent around values in percent, within 0..100 and never narrower than 4 points."""
    low, high = min(values), max(values)
    room = max(margin * (high - low), 2.0 - (high - low) / 2, 0.5)
    return max(-1.0, low - room), min(101.0, high + room)


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in the order given, a least gap apart and within limits where they have room.

    Neighbours that collide form a block around the mean of what its members want; blocks that collide merge.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[list[int]] = []

    def start(block: list[int]) -> float:
        width = gap * (len(block) - 1)
        centre = math.fsum(wanted[member] for member in block) / len(block)
        return max(low, min(centre - width / 2, high - width))

    for index in order:
        block = [index]
        while blocks and start(block) < start(blocks[-1]) + gap * len(blocks[-1]):
            block = blocks.pop() + block
        blocks.append(block)
    placed = [0.0] * len(wanted)
    for block in blocks:
        for rank, member in enumerate(block):
            placed[member] = start(block) + gap * rank
    return placed


def place_labels(axes: Axes, points: Sequence[tuple[float, float, str]], taken: Sequence[tuple[float, float]]) -> None:
    """Write (x, y, text) beside its point, where it covers no other label, no point of `taken` and no edge.

    Tries places around the point, nearest first; a label that must go far is tied to its point by a thin line.
    """
    from matplotlib.transforms import Bbox

    figure = axes.get_figure()
    assert figure is not None
    figure.get_figure(root=True).draw_without_rendering()
    scale = figure.dpi / 72
    dots = [axes.transData.transform(point) for point in taken]
    busy = [Bbox.from_bounds(x - 5 * scale, y - 5 * scale, 10 * scale, 10 * scale) for x, y in dots]
    frame = axes.get_window_extent()
    for x, y, text in sorted(points, key=lambda point: -point[1]):
        label = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", va="center", fontsize=9.5)
        label.set_in_layout(False)
        size = label.get_window_extent()
        place, box, radius = _free_place(
            axes.transData.transform((x, y)), (size.width, size.height), busy, frame, scale
        )
        label.set_position(place)
        label.set_horizontalalignment("left" if place[0] > 1 else "right" if place[0] < -1 else "center")
        busy.append(box)
        if radius > 16:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
            axes.annotate("", (x, y), place, textcoords="offset points", arrowprops=line).set_in_layout(False)


def _free_place(
    point: Any, size: tuple[float, float], busy: Sequence[Any], frame: Any, scale: float
) -> tuple[tuple[float, float], Any, float]:
    """Where a label of this size in pixels fits best: its offset in points, its box, and how far away that is."""
    from matplotlib.transforms import Bbox

    best, lowest = None, math.inf
    for radius, angle in _around():
        if radius / 20 >= lowest:
            break  # what follows lies further away
        across, up = radius * math.cos(angle), radius * math.sin(angle)
        left = 0.0 if across > 1 else size[0] if across < -1 else size[0] / 2
        box = Bbox.from_bounds(point[0] + across * scale - left, point[1] + up * scale - size[1] / 2, *size)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        cost = radius / 20 + sum(_overlap(box, other) for other in busy) + (0 if inside else 500)
        if cost < lowest:
            best, lowest = ((across, up), box, radius), cost
    assert best is not None
    return best


def _around() -> list[tuple[float, float]]:
    """Offsets to try, (distance in points, angle), nearest first: beside, above and below, then all around."""
    first = [0, math.pi, math.pi / 2, -math.pi / 2]
    turns = [*first, *(k * math.pi / 12 for k in range(-11, 12) if k % 6)]
    return [(radius, turn) for radius in (10.0, 15.0, 20.0, 27.0, 36.0, 48.0, 62.0, 80.0, 100.0) for turn in turns]


def _overlap(one: Any, other: Any) -> float:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide * high if wide > 0 and high > 0 else 0.0
