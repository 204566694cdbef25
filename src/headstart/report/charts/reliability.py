"""How often a row is right when it says how sure it is."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import MUTED, compose, list_tips

TITLE_OFFSET = 7  # pixels above the line of text that stands above the plot
SURE, RIGHT = "confidence, %", "accuracy, % (bars: images, %)"


def draw_reliability(bins: Sequence[dict[str, Any]], look: tuple[str, str], title: str, told: Sequence[str]) -> Any:
    """Accuracy against confidence, bin by bin, over bars of the share of images in each.

    Args:
        bins: `from` and `to` (the limits), `sure`, `right` and `share` (of images), all in %; `few` for a hollow mark.
        look: the row's colour and shape.
        told: sentences between the title and the plot, where no mark is.
    """
    colour, shape = look
    whole = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("sure:Q", title=SURE, scale=whole)
    y = alt.Y("right:Q", title=RIGHT, scale=whole)
    base = alt.Chart(alt.NamedData("bins"))
    known = base.transform_filter("datum.share > 0")
    told_of = {"sure:Q": "confidence", "right:Q": "accuracy", "share:Q": "images, %"}
    tips = list_tips(*((field, name, ".1f") for field, name in told_of.items()))
    diagonal = alt.Chart(alt.NamedData("ideal")).mark_line(color=MUTED, strokeDash=[5, 4], strokeWidth=1.2, aria=False)
    words = alt.Chart(alt.NamedData("told")).mark_text(align="left", baseline="bottom", dy=-7)
    layers = [
        base.mark_rect(color=colour, opacity=0.25, aria=False).encode(
            x=alt.X("from:Q", title=SURE, scale=whole),
            x2="to:Q",
            y=alt.Y("share:Q", title=RIGHT, scale=whole),
            y2=alt.datum(0),
        ),
        diagonal.encode(x=x, y=y),
        known.mark_rule(color=colour, strokeWidth=5, opacity=0.3, aria=False).encode(
            x=x, y=alt.Y("sure:Q", title=RIGHT), y2="right:Q"
        ),
        known.mark_line(color=colour, strokeWidth=1.6, aria=False).encode(x=x, y=y),
        known.mark_point(filled=True, stroke=colour, strokeWidth=1.5, shape=shape, size=60, opacity=1).encode(
            x=x, y=y, fill=alt.condition("datum.few", alt.value("white"), alt.value(colour)), tooltip=tips
        ),
        words.encode(x=alt.value(0), y=alt.value(0), text="text:N"),
    ]
    ideal = [{"sure": end, "right": end} for end in (0, 100)]
    data = {"bins": list(bins), "ideal": ideal, "told": [{"text": ", ".join(told)}]}
    chart = compose(layers, data, 300, f"Reliability diagram of {title}")
    return chart.properties(title=alt.TitleParams(title, offset=TITLE_OFFSET))
