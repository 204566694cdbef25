"""Which classes a row takes for which: a square for each pair, the darker the more."""

import json
from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import COLOURS, INK, compose, list_tips

ANNOTATED, TICKED = 12, 40  # classes up to which each square has its number, and each class its name


def draw_confusion(rate: Sequence[Sequence[float]], classes: Sequence[str], title: str) -> Any:
    """A row-normalised matrix [true, predicted] of shares of 1 (NaN: a class without images)."""
    n, names = len(classes), json.dumps(list(classes), ensure_ascii=False)  # a list of Vega's expressions
    cells = [
        {"true": true, "seen": seen, "share": share, "text": f"{100 * share:.0f}" if share >= 0.005 else ""}
        for true, row in enumerate(rate)
        for seen, share in enumerate(row)
        if share > 0
    ]
    step = 1 if n <= TICKED else -(-n // 25)
    flat = n <= ANNOTATED and max(map(len, classes)) * n <= 36

    def axis(name: str, angle: int) -> Any:
        return alt.Axis(
            title=name,
            labelExpr=f"{names}[datum.value]",
            values=list(range(0, n, step)),
            labelAngle=angle,
            labelLimit=110,
            grid=False,
            labelPadding=4,
        )

    every = alt.Scale(domain=list(range(n)), paddingInner=0.03 if n <= TICKED else 0)
    x = alt.X("seen:O", scale=every, axis=axis("predicted class", 0 if flat else -60))
    y = alt.Y("true:O", scale=every, axis=axis("true class", 0))
    base = alt.Chart(alt.NamedData("cells")).encode(x=x, y=y)
    # steep at the pale end, where the mistakes are
    dark = alt.Opacity("share:Q", scale=alt.Scale(type="pow", exponent=0.6, domain=[0, 1], range=[0, 1]), legend=None)
    tips = list_tips(("is:N", "true"), ("says:N", "predicted"), ("share:Q", "share", ".1%"))
    squares = base.transform_calculate(**{"is": f"{names}[datum.true]", "says": f"{names}[datum.seen]"})
    layers: list[Any] = [squares.mark_rect(color=COLOURS[0]).encode(opacity=dark, tooltip=tips)]
    if n <= ANNOTATED:
        ink = alt.condition("datum.share > 0.35", alt.value("#ffffff"), alt.value(INK))
        layers.append(base.mark_text(fontSize=10.5, aria=False).encode(text="text:N", color=ink))
    high = max(300.0, 30.0 * n) if n <= ANNOTATED else max(360.0, min(16.0 * n, 640.0))
    return compose(layers, {"cells": cells}, high, f"Confusion matrix of {title}", title)
