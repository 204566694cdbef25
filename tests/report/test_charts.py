"""The charts: pictures of the page's own specifications, names that lie on nothing, letters that no font has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from headstart.report.charts import render
from headstart.report.charts.confusion import draw_confusion
from headstart.report.charts.grids import draw_verdicts
from headstart.report.charts.labels import HALF, LINE, place_labels
from headstart.report.charts.levels import count_lanes, draw_levels
from headstart.report.charts.lines import draw_lines
from headstart.report.charts.render import join_panels, make_spec
from headstart.report.charts.scatter import draw_scatter, list_ticks
from headstart.report.charts.theme import colour_names, legible

SIZE = (560.0, 380.0)


def test_names_lie_on_no_mark_bar_line_or_other_name() -> None:
    """As many as find room; the others are dropped, and the pointer tells them."""
    points = [
        {"label": "a", "tag": f"row number {k}", "x": 1.5**k, "y": 50 + 8 * (k % 3), "low": 48, "high": 70}
        for k in range(12)
    ]
    limits = ((0.5, 200.0), (40.0, 80.0))
    placed = place_labels(points, [], [(1.0, 50.0), (20.0, 66.0), (200.0, 66.0)], limits, True, SIZE)
    shown = [point for point in placed if not point.get("dropped")]
    assert 4 <= len(shown) <= 12
    boxes = []
    for point in shown:
        x = SIZE[0] * render_log(point["x"], *limits[0])
        y = SIZE[1] * (80 - point["y"]) / 40
        wide = legible(point["tag"])
        left = x + point["dx"] - {"left": 0, "center": wide / 2, "right": wide}[point["align"]]
        boxes.append((left, y + point["dy"] - LINE / 2, left + wide, y + point["dy"] + LINE / 2))
    marks = [
        (x - HALF, y - HALF, x + HALF, y + HALF)
        for x, y in ((SIZE[0] * render_log(p["x"], *limits[0]), SIZE[1] * (80 - p["y"]) / 40) for p in points)
    ]
    for at, box in enumerate(boxes):
        assert 0 <= box[0] <= box[2] <= SIZE[0]
        assert not [other for other in [*boxes[at + 1 :], *marks] if overlap(box, other)]


def render_log(value: float, low: float, high: float) -> float:
    """Where a number stands on a logarithmic axis, 0 … 1."""
    import math

    return math.log(value / low) / math.log(high / low)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_letters_that_no_font_has_are_written_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "can_draw", lambda font, text: "猫" not in text)
    spec = make_spec(draw_confusion([[1.0, 0.0], [0.5, 0.5]], ["猫", "größe…"], "猫"))
    text = json.dumps(render.replace_absent_letters(spec), ensure_ascii=False)
    assert "猫" not in text
    assert text.count("U+732B") > 3
    assert "größe…" in text


def test_panels_keep_their_own_numbers_in_one_picture(tmp_path: Path) -> None:
    looks = colour_names(["a", "b"])
    charts = [
        draw_lines([{"label": "a", "x": x, "y": x * k} for x in (1, 2)], ("x", "y"), looks, title=f"panel {k}")
        for k in (1, 2)
    ]
    whole = join_panels([make_spec(chart) for chart in charts])
    assert {name: rows[1]["y"] for name, rows in whole["datasets"].items()} == {"points0": 2, "points1": 4}
    used = re.findall(r'"data": \{"name": "(\w+)"\}', json.dumps(whole))
    assert set(used) == {"points0", "points1"}
    path = render.write_png([make_spec(chart) for chart in charts], tmp_path / "a.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_looks_of_a_chart_are_those_of_its_rows() -> None:
    looks = colour_names(["a", "b"])
    points = [{"label": name, "x": 1.0 + place, "y": 50.0, "tag": name} for place, name in enumerate("ab")]
    spec = make_spec(draw_scatter(points, ("x", "y"), looks))
    scales = re.findall(r'"domain": \["a", "b"\], "range": (\[[^]]*\])', json.dumps(spec))
    assert {tuple(json.loads(scale)) for scale in scales} == {tuple(looks.colours), tuple(looks.shapes)}


def test_a_title_is_no_expression() -> None:
    """Vega-Lite escapes quotes in titles and no backslash: a name could end the text that it stands in."""
    spec = make_spec(draw_verdicts([[1, 2], [3, 4]], ('a\\" + 1 + "', "\\x1b"), ("#0072B2", "#D55E00")))
    titles = re.findall(r'"title": ("[^,]*?(?<!\\)")', json.dumps(spec["layer"]))
    assert len(titles) > 4
    assert not [title for title in titles if "\\" in json.loads(title)]


def test_ticks_are_round() -> None:
    assert list_ticks((8.0, 25.0), "seconds") == [10.0, 15.0, 20.0, 25.0]
    assert list_ticks((14.8, 24.0), "seconds") == [16.0, 18.0, 20.0, 22.0, 24.0], "one number is no axis"
    assert list_ticks((0.21, 0.29), "gmacs") == [0.22, 0.24, 0.26, 0.28]
    assert list_ticks((50.0, 4000.0), "seconds") == [60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0]
    assert list_ticks((9e3, 5e6), "count") == [10_000, 50_000, 200_000, 1_000_000, 5_000_000]


def read_heights(labels: dict[str, str]) -> tuple[float, bool]:
    """The pixels that each level has, and whether its marks lie in lanes, for a mark at each (level, label)."""
    points = [{"level": level, "label": label, "x": 1.0} for level, names in labels.items() for label in names]
    looks = colour_names(sorted({point["label"] for point in points}))
    lanes = count_lanes(points, list(labels))
    spec = make_spec(draw_levels(points, list(labels), "test error, %", looks, lanes=lanes))
    assert spec["height"]["for"] == "position", "the pixels of a level, not of each lane in it"
    return spec["height"]["step"], any("yOffset" in layer.get("encoding", {}) for layer in spec["layer"])


def test_marks_lie_beside_each_other_only_where_a_level_has_several() -> None:
    assert read_heights({"20": "abc", "56": "abc"}) == (48, True)
    assert read_heights({"20": "a", "56": "b", "110": "c"}) == (26, False)
