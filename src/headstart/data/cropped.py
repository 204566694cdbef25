"""Count the images of which the centre crop cuts off much: wide and tall ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.headers import read_headers
from headstart.data.square import Square

if TYPE_CHECKING:
    from headstart.data.splits import Part

MEASURED = 1000  # images of a part whose shape is read, at most: 0.1 s
WIDE_CUT = 1 / 3  # a cut of more than this share of an image's longer side is said; of a square's, 1/8 is usual


def describe_cropped(parts: Mapping[str, Part], square: Square) -> list[str]:
    """A sentence that counts the images of which the crop cuts off much; none if there are none."""
    if square.resize != "crop":
        return []
    shapes = [shape for part in parts.values() for shape in _list_shapes(part)]
    cut = sum(square.count_cut(*shape) > WIDE_CUT for shape in shapes)
    if not cut:
        return []
    total = sum(map(len, parts.values()))
    looked_at = "" if len(shapes) == total else f" that were looked at (there are {total:,})"
    return [
        f"data.resize=crop: {cut:,} of {len(shapes):,} images{looked_at} lose more than a third of their longer side "
        "at its ends; data.resize=squash or pad keeps all of it"
    ]


def _list_shapes(part: Part) -> list[tuple[int, int]]:
    """Height and width of a part's images, evenly spaced ones if there are many, from their headers."""
    some = part.at(np.arange(0, len(part), max(1, -(-len(part) // MEASURED))))
    return [(header.height, header.width) for header in read_headers(some) if not header.fault]
