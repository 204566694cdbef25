"""Say how images have to be changed for the network: grey ones, small ones, and wide or tall ones that are cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.headers import Header, read_headers
from headstart.data.square import Square

if TYPE_CHECKING:
    from headstart.data.splits import Part

MEASURED = 1000  # images of a part that are looked at, at most: 0.1 s
WIDE_CUT = 1 / 3  # a cut of more than this share of an image's longer side is said; of a square's, 1/8 is usual


def describe_changes(parts: Mapping[str, Part], square: Square) -> list[str]:
    """Sentences that count the images that are repeated to three channels, enlarged, or cut; none for those that fit.

    Args:
        square: what each image is resized to.
    """
    headers = [header for part in parts.values() for header in _read_some(part)]
    total = sum(map(len, parts.values()))
    looked_at = f" that were looked at (there are {total:,})" if len(headers) < total else ""

    def count(number: int) -> str:
        return (
            (f"all {number:,}" if number == len(headers) else f"{number:,} of {len(headers):,}") + " images" + looked_at
        )

    grey = sum(header.mode in ("1", "L", "LA") or header.mode.startswith("I") for header in headers)
    side = max if square.resize == "pad" else min  # the side that is resized to the square's
    small = [size for header in headers if (size := side(header.width, header.height)) < square.size]
    cut = sum(square.count_cut(header.height, header.width) > WIDE_CUT for header in headers)
    words = [f"{count(grey)} are grey: repeated to 3 channels"] if grey else []
    if small:
        words.append(f"{count(len(small))} are enlarged to {square.size} px, the smallest from {min(small)} px")
    if cut:
        words.append(
            f"data.resize=crop: {count(cut)} lose more than a third of their longer side at its ends; "
            "data.resize=squash or pad keeps all of it"
        )
    return words


def _read_some(part: Part) -> list[Header]:
    """The readable headers of a part's images, of evenly spaced ones if there are many."""
    some = part.at(np.arange(0, len(part), max(1, -(-len(part) // MEASURED))))
    return [header for header in read_headers(some) if not header.fault]
