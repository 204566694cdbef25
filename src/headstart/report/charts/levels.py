"""A number at each of some levels, with what others published."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import INK, Looks, compose, list_tips

ABOVE: dict[str, Any] = {"titleAngle": 0, "titleAlign": "right", "titleAnchor": "end", "titleX": -8, "titleY": -8}


def count_lanes(points: Sequence[dict[str, Any]], levels: Sequence[str]) -> int:
    """How many labels a level has at most, which lie beside each other in it."""
    return max(
        len({each["label"] for each in points if each["level"] == level and "label" in each}) for level in levels
    )


def draw_levels(
    points: Sequence[dict[str, Any]],
    levels: Sequence[str],
    axis: str,
    looks: Looks,
    *,
    lanes: int,
    title: str = "",
    names: str | None = None,
) -> Any:
    """A line for each level, and on it the marks of each label with interval and seeds.

    Args:
        lanes: as `count_lanes` counts them; of panels side by side, the same for all, so that their rows are level.
        names: of what the words of a level are values, where they are several.
        points: `level`, `label`, `x`, `low`, `high`; without `label` a published number; `seed` for a small dot.
    """
    y = alt.Y(
        "level:N",
        sort=list(levels),
        scale=alt.Scale(domain=list(levels)),
        axis=alt.Axis(title=names, labelLimit=190, grid=False, **ABOVE),
    )
    base = alt.Chart(alt.NamedData("levels")).encode(y=y)
    if lanes > 1:
        base = base.encode(yOffset=alt.YOffset("label:N", scale=alt.Scale(domain=list(looks.names))))
    x = alt.X("x:Q", title=axis, scale=alt.Scale(zero=False, padding=14))
    tips = list_tips(("level:N",), ("label:N",), ("x:Q", axis, ".4~g"))
    ours = base.transform_filter("datum.label && !datum.seed")
    layers = [
        ours.mark_rule(strokeWidth=7, opacity=0.28, aria=False).encode(
            x=alt.X("low:Q", title=axis), x2="high:Q", color=looks.colour()
        ),
        base.transform_filter("datum.seed")
        .mark_circle(size=22, opacity=0.6, aria=False)
        .encode(x=x, color=looks.colour()),
        ours.mark_point(filled=True, size=90, opacity=1).encode(
            x=x, color=looks.colour(), shape=looks.shape(), tooltip=tips
        ),
        alt.Chart(alt.NamedData("levels"))
        .transform_filter("!datum.label")
        .mark_point(shape="diamond", size=90, color=INK, strokeWidth=1.5)
        .encode(x=x, y=y, tooltip=[tips[0], tips[2]]),
    ]
    high = alt.Step(max(26, 16 * lanes), **{"for": "position"})
    return compose(layers, {"levels": list(points)}, high, f"{axis} by {', '.join(levels[:8])}", title)
