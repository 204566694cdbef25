"""The charts of a search: its history, what mattered, and what no trial beats in both of two objectives."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import MUTED, compose, list_tips

HEIGHT = 240
TRIAL, BEST = "#0072B2", "#D55E00"


def draw_history(trials: Sequence[dict[str, Any]], title: str) -> Any:
    """A mark for each trial in its order, hollow where it was pruned, and the line of the best so far.

    Args:
        trials: `place` (from 1), `value`, `best` (so far), `state`, `settings`.
    """
    base = alt.Chart(alt.NamedData("trials")).encode(
        x=alt.X("place:Q", title="trial", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False)),
    )
    tips = list_tips(("place:N",), ("value:N",), ("state:N",), ("settings:N",))
    score = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    line = base.mark_line(color=BEST, interpolate="step-after", aria=False).encode(y=alt.Y("best:Q"))
    marks = base.mark_point(color=TRIAL, size=50).encode(
        y=score,
        fill=alt.condition("datum.state === 'complete'", alt.value(TRIAL), alt.value("transparent")),
        tooltip=tips,
    )
    return compose([line, marks], {"trials": list(trials)}, HEIGHT, f"{title} of each trial, and the best so far")


def draw_importance(shares: Mapping[str, float], title: str) -> Any:
    """A bar for each key, the most important first."""
    rows = [{"key": key, "share": share, "text": f"{100 * share:.0f} %"} for key, share in shares.items()]
    base = alt.Chart(alt.NamedData("keys")).encode(
        x=alt.X("share:Q", title="importance", axis=alt.Axis(format="%")),
        y=alt.Y("key:N", title=None, sort=list(shares), axis=alt.Axis(labelLimit=260, grid=False)),
    )
    bars = base.mark_bar(color=TRIAL).encode(tooltip=list_tips(("key:N",), ("text:N", "importance")))
    words = base.mark_text(align="left", dx=4, color=MUTED, aria=False).encode(text="text:N")
    return compose([bars, words], {"keys": rows}, alt.Step(26), f"Importance of each key for {title}")


def draw_front(trials: Sequence[dict[str, Any]], titles: Sequence[str]) -> Any:
    """Each trial by two objectives, and the line through those that no other one beats in both.

    Args:
        trials: `first`, `second` (the objectives), `front` (whether none beats it), `settings`.
    """
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("second:Q", title=titles[1], scale=alt.Scale(zero=False)),
        y=alt.Y("first:Q", title=titles[0], scale=alt.Scale(zero=False)),
    )
    line = base.mark_line(color=BEST, aria=False).transform_filter("datum.front").encode(order="second:Q")
    colour = alt.condition("datum.front", alt.value(BEST), alt.value(TRIAL))
    tips = list_tips(("first:N",), ("second:N",), ("settings:N",))
    marks = base.mark_point(filled=True, size=60, opacity=0.9).encode(color=colour, tooltip=tips)
    words = f"Trials by {titles[0]} and {titles[1]}; a line joins those that no other one beats in both"
    return compose([line, marks], {"points": list(trials)}, HEIGHT, words)
