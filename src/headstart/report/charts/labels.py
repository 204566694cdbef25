"""Where the names of points stand in a picture: beside their points, on no mark, line, edge or other name.

The page lets Vega place them for the width that it has; a picture is made without a canvas, so they are placed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from headstart.report.charts.theme import legible

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
HALF, GAP, LINE = 6.0, 9.0, 14.0  # of a mark, between mark and name, of a line of text
MOST = 190.0  # pixels of a name; a longer one ends in an ellipsis
PLACES = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)]  # right, left, above, below, corners


def place_labels(
    points: Sequence[dict[str, Any]],
    dots: Sequence[dict[str, Any]],
    front: Sequence[tuple[float, float]],
    limits: tuple[tuple[float, float], tuple[float, float]],
    log: bool,
    size: tuple[float, float],
) -> list[dict[str, Any]]:
    """The points with `dx`, `dy` and `align` of their names, or `dropped` where there is no room for one."""
    width, height = size
    (x0, x1), (y0, y1) = limits

    def across(value: float) -> float:
        if log:
            return width * math.log(value / x0) / math.log(x1 / x0)
        return width * (value - x0) / (x1 - x0)

    def down(value: float) -> float:
        return height * (y1 - value) / (y1 - y0)

    busy = [_around(across(point["x"]), down(point["y"]), HALF) for point in points]
    busy += [_around(across(dot["x"]), down(dot["y"]), 3) for dot in dots]
    for point in points:
        if point.get("low") is not None:
            x = across(point["x"])
            busy.append((x - 3, down(point["high"]), x + 3, down(point["low"])))
        if point.get("left") is not None:
            y = down(point["y"])
            busy.append((across(point["left"]), y - 3, across(point["right"]), y + 3))
    busy += list(_along([(across(x), down(y)) for x, y in front]))
    placed = []
    for point in points:
        if not point.get("tag"):
            placed.append(point)
            continue
        x, y, wide = across(point["x"]), down(point["y"]), min(MOST, legible(point["tag"]))
        found = next((spot for spot in _spots(x, y, wide) if _is_free(spot[0], busy, width, height)), None)
        if found is None:
            placed.append(point | {"dropped": True})
        else:
            busy.append(found[0])
            placed.append(point | found[1])
    return placed


def _around(x: float, y: float, half: float) -> Box:
    return x - half, y - half, x + half, y + half


def _spots(x: float, y: float, wide: float) -> Iterable[tuple[Box, dict[str, Any]]]:
    for far in (1.0, 1.9, 3.2):
        for right, below in PLACES:
            dx = right * GAP * (far if not below else 0.8 * far)
            dy = below * (GAP + LINE / 2) * far * (0.75 if right else 1)
            left = x + dx - (0 if right > 0 else wide if right < 0 else wide / 2)
            box = (left, y + dy - LINE / 2, left + wide, y + dy + LINE / 2)
            yield box, {"dx": dx, "dy": dy, "align": ("right", "center", "left")[right + 1]}


def _along(corners: Sequence[tuple[float, float]]) -> Iterable[Box]:
    """The stairs through these corners: across first, then up."""
    for (x, y), (to_x, to_y) in pairwise(corners):
        yield x, y - 2, to_x, y + 2
        yield to_x - 2, min(y, to_y), to_x + 2, max(y, to_y)


def _is_free(box: Box, busy: Iterable[Box], width: float, height: float) -> bool:
    left, top, right, bottom = box
    if left < 0 or top < 0 or right > width or bottom > height:
        return False
    return not any(left < b[2] and b[0] < right and top < b[3] and b[1] < bottom for b in busy)
