"""A number at each of some levels, with what others published."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import INK, Looks, compose, list_tips


def draw_levels(
    points: Sequence[dict[str, Any]], levels: Sequence[str], axis: str, looks: Looks, *, title: str = ""
) -> Any:
    """A line for each level, and on it the marks of each label with interval and seeds.

    Args:
        points: `level`, `label`, `x`, `low`, `high`; without `label` a published number; `seed` for a small dot.
    """
    y = alt.Y(
        "level:N",
        sort=list(levels),
        scale=alt.Scale(domain=list(levels)),
        axis=alt.Axis(title=None, labelLimit=190, grid=False),
    )
    base = alt.Chart(alt.NamedData("levels")).encode(
        y=y, yOffset=alt.YOffset("label:N", scale=alt.Scale(domain=list(looks.names)))
    )
    if len(looks.names) == 1:
        base = alt.Chart(alt.NamedData("levels")).encode(y=y)
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
    high = alt.Step(max(26, 16 * len(looks.names)))
    return compose(layers, {"levels": list(points)}, high, f"{axis} by {', '.join(levels[:8])}", title)
