"""Lines over a number: learning curves, accuracy by the number of images, errors, gradients."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import INK, Looks, compose, list_tips

HEIGHT = 340
MOST_MARKS = 30  # numbers with a mark at each


def draw_lines(
    points: Sequence[dict[str, Any]],
    titles: tuple[str, str],
    looks: Looks,
    *,
    title: str = "",
    logs: tuple[bool, bool] = (False, False),
    limits: tuple[float, float] | None = None,
    ticks: Sequence[float] = (),
    levels: Sequence[dict[str, Any]] = (),
    rings: Sequence[dict[str, Any]] = (),
    dashed: bool = False,
    whole: bool = False,
) -> Any:
    """A line for each label, with the band of its interval.

    Args:
        points: `label`, `x`, `y`; `low` and `high` (of the band, or null); `begins` where a hollow mark says so;
            `kind`, which dashes tell apart if `dashed`.
        levels: `label`, `y`, `low`, `high`: what has no x, drawn dashed over the whole width.
        rings: `x`, `y`, `text`: places that are marked.
        whole: x are whole numbers.
    """
    x, y = _make_axes(titles, logs, limits, ticks, whole)
    base = alt.Chart(alt.NamedData("points")).encode(x=x)
    colour = looks.colour()
    tips = list_tips(("label:N", "row"), ("x:Q", titles[0]), ("y:Q", titles[1], ".4~g"))
    layers: list[Any] = []
    if any(point.get("low") is not None for point in points):
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.16, aria=False)
        layers.append(band.encode(y=alt.Y("low:Q", title=titles[1], scale=y["scale"]), y2="high:Q", color=colour))
    if levels:
        layers += _draw_levels(y, titles[1], colour, [tips[0], tips[2]])
    dash = {"strokeDash": _make_dashes()} if dashed else {}
    layers.append(base.mark_line(strokeWidth=2, aria=False).encode(y=y, color=colour, **dash))
    if len({point["x"] for point in points}) <= MOST_MARKS and not dashed:
        marks = base.mark_point(filled=True, size=44, opacity=1, aria=False)
        layers.append(marks.encode(y=y, color=colour, shape=looks.shape(), tooltip=tips))
    begins = base.transform_filter("datum.begins").mark_point(
        filled=True, fill="white", size=70, strokeWidth=2, opacity=1, aria=False
    )
    layers.append(begins.encode(y=y, stroke=looks.colour(legend=False, channel=alt.Stroke), tooltip=tips))
    if rings:
        layers += _draw_rings(x, y)
    tables = {"points": list(points), "levels": list(levels), "rings": list(rings)}
    data = {name: table for name, table in tables.items() if table or name == "points"}
    return compose(layers, data, HEIGHT, f"{titles[1]} over {titles[0]}{': ' if title else ''}{title}", title)


def _make_axes(
    titles: tuple[str, str],
    logs: tuple[bool, bool],
    limits: tuple[float, float] | None,
    ticks: Sequence[float],
    whole: bool,
) -> tuple[Any, Any]:
    """Both axes; `limits` are those of y."""
    if ticks:
        axis = alt.Axis(values=list(ticks))
    else:
        axis = alt.Axis(tickMinStep=1, format="d") if whole else alt.Axis(format="~g")
    across = alt.Scale(type="log" if logs[0] else "linear", nice=False, zero=False, padding=8)
    span: dict[str, Any] = {"domain": list(limits), "nice": False, "clamp": True} if limits else {"zero": False}
    up = alt.Scale(type="log" if logs[1] else "linear", **span)
    numbers = alt.Axis(format="~g") if logs[1] else alt.Axis()
    return alt.X("x:Q", title=titles[0], axis=axis, scale=across), alt.Y("y:Q", title=titles[1], scale=up, axis=numbers)


def _draw_levels(y: Any, title: str, colour: Any, tips: list[Any]) -> list[Any]:
    """What has no x: its interval and its mean over the whole width."""
    level = alt.Chart(alt.NamedData("levels"))
    span = {"x": alt.value(0), "x2": alt.value("width"), "y2": "high:Q"}
    low = alt.Y("low:Q", title=title, scale=y["scale"])
    return [
        level.mark_rect(opacity=0.14, aria=False).encode(y=low, color=colour, **span),
        level.mark_rule(strokeWidth=2, strokeDash=[6, 3]).encode(y=y, color=colour, tooltip=tips),
    ]


def _make_dashes() -> Any:
    scale = alt.Scale(domain=["validation", "training"], range=[[1, 0], [5, 4]])
    return alt.StrokeDash("kind:N", scale=scale, legend=alt.Legend(symbolType="stroke"))


def _draw_rings(x: Any, y: Any) -> list[Any]:
    place = alt.Chart(alt.NamedData("rings")).encode(x=x, y=y)
    words = place.mark_text(dy=22, fontWeight=600, fontSize=12)
    return [place.mark_point(size=200, color=INK, strokeWidth=1.4, tooltip=None), words.encode(text="text:N")]
