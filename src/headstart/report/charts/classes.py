"""Recall class by class: two rows, and what lies between them."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import MUTED, Looks, compose, list_tips

STEP = 22


def draw_classes(changes: Sequence[dict[str, Any]], looks: Looks, limits: tuple[float, float]) -> Any:
    """Both rows' recall of each class, and beside it the difference with half the width of its interval.

    Args:
        changes: in their order: `class`, `one` and `other` (recall in %), `text` (the difference), `clear` (whether its
            interval lies on one side of 0), `images`.
        looks: of both rows, in this order.
    """
    order = [change["class"] for change in changes]
    side = alt.Axis(title=None, labelLimit=140, grid=False)
    y = alt.Y("class:N", sort=order, axis=side)
    span = alt.Scale(domain=list(limits), nice=False)
    title = "recall, % of the class's test images"
    base = alt.Chart(alt.NamedData("classes")).encode(y=y)
    ends = [
        {"class": change["class"], "label": name, "recall": change[key], "images": change["images"]}
        for change in changes
        for name, key in zip(looks.names, ("one", "other"), strict=True)
    ]
    tips = list_tips(("class:N",), ("label:N", "row"), ("recall:Q", "recall", ".1f"), ("images:Q",))
    layers = [
        base.mark_rule(strokeWidth=3, color=MUTED, opacity=0.45, aria=False).encode(
            x=alt.X("one:Q", title=title, scale=span), x2="other:Q"
        ),
        alt.Chart(alt.NamedData("ends"))
        .mark_point(filled=True, size=80, opacity=1)
        .encode(
            y=y, x=alt.X("recall:Q", title=title, scale=span), color=looks.colour(), shape=looks.shape(), tooltip=tips
        ),
        base.mark_text(align="left", dx=8, fontWeight=alt.expr("datum.clear ? 700 : 400")).encode(
            x=alt.value("width"), text="text:N"
        ),
    ]
    words = f"Recall by class of {' and '.join(looks.names)}, in %"
    return compose(layers, {"classes": list(changes), "ends": ends}, alt.Step(STEP), words)
