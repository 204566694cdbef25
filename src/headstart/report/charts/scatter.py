"""Marks with their intervals over a number: accuracy against cost, with what nothing cheaper beats."""

import math
from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.labels import place_labels
from headstart.report.charts.theme import BASELINE, INK, MUTED, Looks, compose, list_tips

HEIGHT = 380
WIDTHS = {1: 560, 2: 340}  # of the plot in a picture, by how many panels stand side by side; of more, 220
NUMBERS = {  # how an axis writes a number, by what it counts
    "seconds": "datum.value < 100 ? format(datum.value, '~g') + ' s' : datum.value < 6000 ? "
    "format(datum.value / 60, '.3~g') + ' min' : format(datum.value / 3600, '.2~g') + ' h'",
    "gmacs": "format(datum.value * 1e9, '~s')",
    "count": "format(datum.value, '~s')",
    "plain": "format(datum.value, '~g')",
}


def draw_scatter(
    points: Sequence[dict[str, Any]],
    titles: tuple[str, str],
    looks: Looks,
    *,
    front: Sequence[tuple[float, float]] = (),
    stepped: bool = True,
    dots: Sequence[dict[str, Any]] = (),
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    log: bool = True,
    connect: bool = False,
    number: str = "count",
    legend: bool = True,
    panels: int = 1,
    size: tuple[float, float] | None = None,
) -> Any:
    """A mark for each point, with the bar of its interval and a name where that covers nothing.

    Args:
        points: `label` (its look), `x`, `y`; `low` and `high`, `left` and `right` (the ends of its intervals, or null);
            `tag` (the name beside it, or empty); `hollow` for what others published.
        front: corners of the line that joins what nothing cheaper beats, or the ends of a fitted line.
        dots: single seeds: `label`, `x`, `y`, and for the pointer `run`, `seed`, `differs`.
        panels: how many stand side by side; with `size`, of the plot in pixels, it says where names have room in a
            picture; the page places them anew.
    """
    size = size or (WIDTHS.get(panels, 220), HEIGHT)
    limits = limits or find_limits([*points, *dots], log)
    scales = [alt.Scale(domain=list(span), nice=False, clamp=True) for span in limits]
    scales[0].type = "log" if log else "linear"
    axis = alt.Axis(labelExpr=NUMBERS[number], labelFlush=False)
    if log:
        axis.values = list_ticks(limits[0], number)
    x = alt.X("x:Q", title=titles[0] + (" (log scale)" if log else ""), scale=scales[0], axis=axis)
    y = alt.Y("y:Q", title=titles[1], scale=scales[1])
    tips = list_tips(("label:N", "row"), ("x:Q", titles[0], ".4~g"), ("y:Q", titles[1], ".4~g"))
    base = alt.Chart(alt.NamedData("points")).encode(x=x, y=y)
    colour = looks.colour(legend=legend)
    layers: list[Any] = [_draw_front(x, y, stepped)]
    if connect:
        layers.append(base.mark_line(opacity=0.7, strokeWidth=1.5, aria=False).encode(color=colour))
    layers += _draw_intervals(base, x, y, titles, colour, any(point.get("left") is not None for point in points))
    if dots:
        layers.append(_draw_dots(x, y, colour, tips[1:]))
    marks = base.transform_filter("!datum.hollow").mark_point(filled=True, size=110, opacity=1)
    layers.append(marks.encode(color=colour, shape=looks.shape(legend=legend), tooltip=tips).properties(name="points"))
    if any(point.get("hollow") for point in points):
        rings = base.transform_filter("datum.hollow").mark_point(filled=False, size=90, strokeWidth=2, shape="diamond")
        layers.append(rings.encode(color=colour, tooltip=tips))
    layers.append(_draw_names(base))
    path = [{"x": at, "y": up, "order": place} for place, (at, up) in enumerate(front)]
    points = [  # a bar of no length where there is no interval: Vega's search for room wants marks of each kind
        {**point, "low": point["y"], "high": point["y"]} if point.get("low") is None else point for point in points
    ]
    placed = place_labels(points, [*dots], front if stepped else (), limits, log, size)
    data = {"points": placed, "front": path} | ({"dots": list(dots)} if dots else {})
    return compose(layers, data, size[1], f"{titles[1]} against {titles[0]}")


def _draw_front(x: Any, y: Any, stepped: bool) -> Any:
    line = alt.Chart(alt.NamedData("front")).mark_line(
        color=INK if stepped else MUTED,
        strokeWidth=1.2,
        opacity=0.6,
        interpolate="step-after" if stepped else "linear",
        strokeDash=[1, 0] if stepped else [5, 4],
        tooltip=None,
        aria=False,
    )
    return line.encode(x=x, y=y, order="order:Q").properties(name="front")


def _draw_intervals(base: Any, x: Any, y: Any, titles: tuple[str, str], colour: Any, across: bool) -> list[Any]:
    """The bars of y, and those of x if there are any."""
    bar = base.mark_rule(strokeWidth=6, opacity=0.28, aria=False)
    low = alt.Y("low:Q", title=titles[1], scale=y["scale"])
    bars = [bar.encode(y=low, y2="high:Q", color=colour).properties(name="bars")]
    if across:
        left = alt.X("left:Q", title=titles[0], scale=x["scale"])
        bars.append(bar.encode(x=left, x2="right:Q", color=colour))
    return bars


def _draw_dots(x: Any, y: Any, colour: Any, tips: list[Any]) -> Any:
    own = list_tips(("run:N", "run"), ("seed:N", "seed"), ("differs:N", "settings"))
    small = alt.Chart(alt.NamedData("dots")).mark_circle(size=24, opacity=0.6, aria=False)
    return small.encode(x=x, y=y, color=colour, tooltip=[*own, *tips]).properties(name="dots")


def _draw_names(base: Any) -> Any:
    names = base.transform_filter("datum.tag").mark_text(
        align=alt.expr("datum.align || 'left'"),
        baseline="middle",
        limit=190,
        aria=False,
        dx=alt.expr("datum.dx || 0"),
        dy=alt.expr("datum.dy || 0"),
        opacity=alt.expr("datum.dropped ? 0 : 1"),
    )
    return names.encode(text="tag:N").properties(name="labels")


def find_limits(
    points: Sequence[dict[str, Any]], log: bool, share: bool = True
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of both axes around marks and intervals; those of a percentage stay within 0 and 100."""
    across, up = (
        [point[name] for point in points for name in names if point.get(name) is not None]
        for names in (("x", "left", "right"), ("y", "low", "high"))
    )
    low, high = min(across), max(across)
    if log:
        spread = max(1.25, (high / low) ** 0.08)
        span = (low / spread, high * spread)
    else:
        room = 0.1 * (high - low) or 1.0
        span = (low - room, high + room)
    room = 0.1 * (max(up) - min(up)) or 0.02 * abs(max(up)) or 1.0
    bottom, top = min(up) - room, max(up) + room
    return span, (max(-1.0, bottom) if share else bottom, min(101.0, top) if share else top)


def greyed(names: Sequence[str], bright: Sequence[str], colour: str) -> Looks:
    """Looks in which some names have a colour and the others are grey."""
    colours = [colour if name in bright else BASELINE for name in names]
    return Looks(list(names), colours, ["circle"] * len(names))


def is_log(values: Sequence[float]) -> bool:
    """Whether numbers can stand on a logarithmic axis."""
    return min(values) > 0 and all(map(math.isfinite, values))


TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, *(3600 * hours for hours in (1, 2, 5, 10, 20, 50, 100)))


def list_ticks(span: tuple[float, float], number: str) -> list[float]:
    """Round numbers on a logarithmic axis, three to seven of them; those of time are whole minutes and hours.

    Where fewer than three of 1, 2, 5 times a power of ten lie on the axis, they are even steps.
    """
    low, high = span
    digits = (1, 2, 5) if high / low < 1000 else (1,)
    steps = [digit * 10.0**power for power in range(-6, 16) for digit in digits]
    if number == "seconds":
        steps = [step for step in steps if step < 1] + list(map(float, TIMES))
    found = [step for step in steps if low <= step <= high]
    if len(found) < 3 and (sizes := [step for step in steps if 3 * step <= high - low]):
        step = sizes[-1]
        found = [float(f"{at * step:.12g}") for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return found[:: -(-len(found) // 7)] if found else [float(f"{math.sqrt(low * high):.2g}")]
