"""How every plot looks: one colour and mark per strategy, quiet axes, and labels that keep out of each
other's way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from headstart.report.groups import Group

INK = "#1f2328"
MUTED = "#6a737d"
RULE = "#d9dde2"
# Okabe and Ito's colours for the colour-blind (2008), without the yellow that white paper swallows, then six
# of Paul Tol's muted ones.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#332288", "#999933", "#117733", "#AA4499", "#CC6677"),
)
MARKS = ("o", "s", "^", "D", "v", "P")
BASELINE = "#6b6b6b"
# The strategies that most studies hold have the same colour in all of them.
FIRST = ("feature_extraction", "finetune", "head_then_all")
DPI = 160
# A name with a $ in it is a name, not mathematics.
STYLE: Any = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c959f",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}


class Palette:
    """A colour for each strategy of a study and a mark for each row, the same in all its plots.

    `scratch` is grey, and twelve colours tell the others apart; beyond, they come again darker, then lighter. The mark
    stands for the model where a study has several; else it changes with every six strategies, so that look-alike
    colours differ in it.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        rows = list(groups)
        names = {row.strategy for row in rows} - {"scratch"}
        known = [name for name in FIRST if name in names]
        free = (slot for slot in range(len(FIRST), 1000))
        others = sorted(names - set(known))
        self.slots = {name: FIRST.index(name) for name in known} | dict(zip(others, free, strict=False))
        self.strategies = [
            *known,
            *others,
            *(["scratch"] if any(row.strategy == "scratch" for row in rows) else []),
        ]
        self.models = sorted({row.model for row in rows})

    def colour(self, strategy: str) -> str:
        """The strategy's colour."""
        slot = self.slots.get(strategy)
        return BASELINE if slot is None else _shade(COLOURS[slot % len(COLOURS)], slot // len(COLOURS))

    def two(self, one: Group, other: Group) -> tuple[str, str]:
        """Colours of two rows that are set against each other: their strategies', or two of its own for one strategy."""
        if one.strategy == other.strategy:
            return COLOURS[0], COLOURS[1]
        return self.colour(one.strategy), self.colour(other.strategy)

    def mark(self, group: Group) -> str:
        """The row's mark, for matplotlib."""
        slot = self.models.index(group.model) if len(self.models) > 1 else self.slots.get(group.strategy, 0) // 6
        return MARKS[slot % len(MARKS)]

    def legend(self, figure: Figure) -> None:
        """Name the colours, and the marks where they stand for models, above a figure's panels."""
        from matplotlib.lines import Line2D

        keys = [Line2D([], [], color=self.colour(name), linewidth=4, label=name) for name in self.strategies]
        if len(self.models) > 1:
            marks = zip(self.models, MARKS * len(self.models), strict=False)
            keys += [Line2D([], [], color=MUTED, marker=mark, linestyle="", label=name) for name, mark in marks]
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


def shortened(text: str, length: int) -> str:
    """The text, cut to a length with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def sheet(width: float, height: float) -> Figure:
    """An empty figure in inches that draws itself without a display or global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.06)
    return path


def percent_limits(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Axis limits in percent around values in percent, within 0..100 and never narrower than 4 points."""
    low, high = min(values), max(values)
    room = max(margin * (high - low), 2.0 - (high - low) / 2, 0.5)
    return max(-1.0, low - room), min(101.0, high + room)


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in the order given, a least gap apart and within limits where they have
    room.

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

    Tries places around the point, nearest first; a label that must go far is tied to its point by a thin
    line.
    """
    from matplotlib.transforms import Bbox

    figure = axes.get_figure()
    assert figure is not None
    figure.canvas.draw()
    scale = figure.dpi / 72
    dots = [axes.transData.transform(point) for point in taken]
    busy = [Bbox.from_bounds(x - 5 * scale, y - 5 * scale, 10 * scale, 10 * scale) for x, y in dots]
    frame = axes.get_window_extent()
    for x, y, text in sorted(points, key=lambda point: -point[1]):
        best, lowest = None, math.inf
        for radius, angle in _around():
            across, up = radius * math.cos(angle), radius * math.sin(angle)
            side = "left" if across > 1 else "right" if across < -1 else "center"
            label = axes.annotate(
                text, (x, y), (across, up), textcoords="offset points", ha=side, va="center", fontsize=9.5
            )
            label.set_in_layout(False)
            box = label.get_window_extent()
            cost = radius / 20 + sum(_shared(box, other) for other in busy)
            cost += (
                0 if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 else 500
            )
            if cost < lowest:
                if best is not None:
                    best[0].remove()
                best, lowest = (label, box, radius, (across, up)), cost
            else:
                label.remove()
        assert best is not None
        busy.append(best[1])
        if best[2] > 16:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
            axes.annotate("", (x, y), best[3], textcoords="offset points", arrowprops=line).set_in_layout(False)


def _around() -> list[tuple[float, float]]:
    turns = [
        0,
        math.pi,
        math.pi / 2,
        -math.pi / 2,
        *(k * math.pi / 4 for k in (1, -1, 3, -3)),
        0.4,
        -0.4,
        2.74,
        -2.74,
    ]
    return [(radius, turn) for radius in (10.0, 15.0, 24.0, 36.0, 50.0, 66.0, 84.0) for turn in turns]


def _shared(one: Any, other: Any) -> float:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide * high if wide > 0 and high > 0 else 0.0
