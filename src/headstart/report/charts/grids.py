"""Two grids: each row of a task against each other, and images by how many seeds of two rows got them right."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts import vega as alt
from headstart.report.charts.theme import INK, MUTED, compose, list_tips

AHEAD, BEHIND, OPEN = "#0072B2", "#D55E00", "#8c959f"  # better than the column, worse, and what is not shown


def draw_pairs(cells: Sequence[dict[str, Any]], names: Sequence[str], unit: str) -> Any:
    """Differences between rows (up) and columns: coloured where shown, the stronger the larger, else pale.

    Args:
        cells: `row` and `column` (names), `gain` (row less column, more is better), `text`, `shown`.
    """
    widest = max((abs(cell["gain"]) for cell in cells), default=1.0) or 1.0
    drawn = []
    for cell in cells:
        strength = 0.2 + 0.8 * abs(cell["gain"]) / widest if cell["shown"] else 0.1
        colour = OPEN if not cell["shown"] else AHEAD if cell["gain"] > 0 else BEHIND
        ink = MUTED if not cell["shown"] else "#ffffff" if strength > 0.6 else INK
        drawn.append(cell | {"strength": strength, "colour": colour, "ink": ink})
    long = alt.Axis(title=None, labelLimit=170, grid=False)
    top = alt.Axis(title=None, labelLimit=130, labelAngle=-50, orient="top", grid=False)
    base = alt.Chart(alt.NamedData("pairs")).encode(
        x=alt.X("column:N", sort=list(names), axis=top, scale=alt.Scale(domain=list(names), paddingInner=0.05)),
        y=alt.Y("row:N", sort=list(names), axis=long, scale=alt.Scale(domain=list(names), paddingInner=0.05)),
    )
    tips = list_tips(("row:N",), ("column:N", "less"), ("text:N", unit), ("shown:N",))
    layers = _draw_cells(base, tips, fontSize=10, fontWeight=alt.expr("datum.shown ? 700 : 400"))
    return compose(layers, {"pairs": drawn}, alt.Step(30), f"Differences between rows in {unit}")


def _draw_cells(base: Any, tips: list[Any], **font: Any) -> list[Any]:
    """Squares in the colours and strengths of their cells, and what is written in them."""
    colour, strength = alt.Color("colour:N", scale=None), alt.Opacity("strength:Q", scale=None)
    words = base.mark_text(aria=False, **font).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    return [base.mark_rect().encode(color=colour, opacity=strength, tooltip=tips), words]


def draw_verdicts(counts: Sequence[Sequence[int]], names: tuple[str, str], colours: tuple[str, str]) -> Any:
    """How many test images are right in so many seeds of the one row (up) and of the other (across)."""
    full = len(counts)
    top = max([1, *(count for up, row in enumerate(counts) for across, count in enumerate(row) if up != across)])
    cells = []
    for up, row in enumerate(counts):
        for across, count in enumerate(row):
            strength = (0.25 if up == across else 0.15 + 0.8 * count / top) if count else 0.06
            ink = "#ffffff" if up != across and strength > 0.6 else INK
            colour = OPEN if up == across else colours[int(up < across)]
            cell = {"up": up, "across": across, "count": count, "text": f"{count:,}"}
            cells.append(cell | {"colour": colour, "strength": strength, "ink": ink})
    base = alt.Chart(alt.NamedData("counts")).encode(
        x=alt.X("across:O", title=f"seeds right: {names[1]}", axis=alt.Axis(labelAngle=0, grid=False, titleLimit=300)),
        y=alt.Y("up:O", sort="descending", title=f"seeds right: {names[0]}", axis=alt.Axis(grid=False, titleLimit=260)),
    )
    layers = _draw_cells(base, list_tips(("up:O", names[0]), ("across:O", names[1]), ("text:N", "images")))
    words = f"Test images by how many seeds of {names[0]} and of {names[1]} got them right"
    return compose(layers, {"counts": cells}, max(200, 46 * full), words)
