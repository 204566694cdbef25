"""The metric of every row: its mean, the 95 % interval, and each seed."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import Looks, compose, list_tips

STEP = 50  # pixels a row: its name above, its marks below
NAME, MARK, SEEDS = -12, 5, 16  # their places in it, from its middle


def draw_accuracy(
    rows: Sequence[dict[str, Any]],
    seeds: Sequence[dict[str, Any]],
    axis: str,
    limits: tuple[float, float],
    looks: Looks,
) -> Any:
    """A line for each row under its name, so that a long name needs no margin.

    Args:
        rows: `id` (of the line), `label`, `score`, `low` and `high` (null without an interval), `text`; a task's
            heading has a label alone, with `head` true.
        seeds: `id`, `label`, `score`, `run`, `seed`, `differs`.
    """
    y = alt.Y("id:N", sort=None, axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    scale = alt.Scale(domain=list(limits), nice=False, clamp=True, zero=False)
    x = alt.X("score:Q", scale=scale, title=axis)
    every = alt.Chart(alt.NamedData("rows")).encode(y=y)
    known = every.transform_filter("!datum.head")
    colour = looks.colour(legend=False)
    tips = list_tips(("label:N", "row"), ("text:N", axis), ("n:Q", "runs"))
    run = list_tips(("run:N",), ("seed:N",), ("score:Q", axis, ".4~g"), ("differs:N", "settings"))
    names = every.mark_text(
        align="left",
        baseline="middle",
        yOffset=NAME,
        limit=alt.expr("width - 110"),
        fontWeight=alt.expr("datum.head ? 700 : 400"),
    )
    layers = [
        names.encode(x=alt.value(0), text="label:N"),
        known.mark_text(align="right", baseline="middle", yOffset=NAME, fontWeight=600).encode(
            x=alt.value("width"), text="text:N"
        ),
        known.mark_rule(strokeWidth=9, opacity=0.3, yOffset=MARK).encode(
            x=alt.X("low:Q", scale=scale, title=axis), x2="high:Q", color=colour
        ),
        known.mark_point(filled=True, size=110, opacity=1, yOffset=MARK).encode(
            x=x, color=colour, shape=looks.shape(legend=False), tooltip=tips
        ),
        alt.Chart(alt.NamedData("seeds"))
        .mark_circle(size=26, opacity=0.75, yOffset=SEEDS, aria=False)
        .encode(y=y, x=x, color=colour, tooltip=run),
    ]
    data = {"rows": list(rows), "seeds": list(seeds)}
    return compose(layers, data, alt.Step(STEP), f"{axis} of each row, with every seed")
