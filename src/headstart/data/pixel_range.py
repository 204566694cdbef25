"""The range of values of 16-bit and floating-point images, which becomes 0 … 255: the same for all images of a set.

A camera or an X-ray detector of 12 bits writes 16-bit files, which are nearly black if only their upper 8 bits are
used. A range for each image would hide how bright images are beside each other. So the range is found over all images
that a run uses: from 0 to the highest value that fits into as many bits as the highest value found (12 bits: 4095), or
from 0 to 1, 2 or 4 … for fractions. A power of two hardly ever differs between two samples of a set. `data.pixel_range`
sets another range, and has to where values are negative (X-ray computed tomography).
"""

from __future__ import annotations

import io
import logging
import math
import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from headstart.data.deep import COLOUR, FLOATING, SHALLOW, WHOLE, Values, measure
from headstart.data.source import FileImages, Images, is_encoded
from headstart.data.splits import Part
from headstart.errors import UserError
from headstart.runtime.hardware import usable_cores
from headstart.storage.shards import Bytes, Shards

log = logging.getLogger(__name__)

NEVER_DEEP = {".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp", ".pbm"}  # endings; other files are looked into
ROW = struct.Struct("<16s4d")  # the digest of a file, and its values
DIM = 8  # the values look dark if nearly all are below this fraction of the range

Range = tuple[float, float]


def set_pixel_range(
    parts: Mapping[str, Part], asked: Sequence[float] | None, cache: Path | None
) -> tuple[dict[str, Part], Range | None]:
    """Find the range of all deep images of these parts, and let the parts read them with it.

    Args:
        asked: `data.pixel_range`.
        cache: the folder in which values of images are remembered, or None.

    Returns:
        The parts, and the range; None if no image is deep.

    Raises:
        UserError: no range can be found, and `data.pixel_range` is not set.
    """
    found = {name: _measure_part(part, cache) for name, part in parts.items()}
    values = {path: value for some in found.values() for path, value in some.items() if value.kind != SHALLOW}
    _check_colour({path: value for path, value in values.items() if value.kind == COLOUR})
    grey = {path: value for path, value in values.items() if value.kind != COLOUR}
    if not grey:
        return dict(parts), None
    low, high = (asked[0], asked[1]) if asked else _choose_range(grey)
    count = sum(map(len, parts.values()))
    log.info(
        "  %s of %s images have 16 bits or more (values %g … %g): %g … %g becomes black … white in all of them%s",
        f"{len(grey):,}",
        f"{count:,}",
        min(value.low for value in grey.values()),
        max(value.high for value in grey.values()),
        low,
        high,
        "" if asked else "; data.pixel_range=[LOW,HIGH] sets another range",
    )
    most = max(value.most for value in grey.values())
    if most < low + (high - low) / DIM:
        log.warning(
            "  data.pixel_range: they will look dark, because nearly all of their pixels (99.9 %% of every image) are "
            "at most %g; data.pixel_range=[%g,%g] makes these brighter, and cuts the few higher ones off",
            most,
            low,
            most,
        )
    return {name: read_with_range(part, (low, high)) for name, part in parts.items()}, (low, high)


def _measure_part(part: Part, cache: Path | None) -> dict[str, Values]:
    """The values of each image of a part that may be deep, by name; images that cannot be read are left out."""
    split = part.split
    if not is_encoded(split.images):
        return {}
    rows = [row for row, at in enumerate(part.rows.tolist()) if _may_be_deep(split.images, at)]
    if not rows:
        return {}
    memory, known = None, {}
    if cache is not None:
        memory = Shards(
            cache / "images" / "values",
            Bytes(".rows"),
            damaged="{path} is damaged and is not used; the images that it knew are measured again",
            full="the next run measures its images again: {error}",
        )
        known = {row[0]: Values(int(row[1]), *row[2:]) for shard in memory.read() for row in ROW.iter_unpack(shard)}
    ids = {row: bytes.fromhex(part.ids[row]) for row in rows}
    new = [row for row in rows if ids[row] not in known]
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        measured = pool.map(lambda row: _try_measure(split.images, int(part.rows[row])), new)
        fresh = {ids[row]: value for row, value in zip(new, measured, strict=True) if value is not None}
    if memory is not None and fresh:
        memory.write(b"".join(ROW.pack(id_, *map(float, astuple(value))) for id_, value in sorted(fresh.items())))
    known |= fresh
    return {split.names[part.rows[row]]: known[ids[row]] for row in rows if ids[row] in known}


def _may_be_deep(images: Images, at: int) -> bool:
    if not isinstance(images, FileImages):
        return True
    return os.path.splitext(images.paths[at])[1].lower() not in NEVER_DEEP  # noqa: PTH122 a Path costs ten times as much


def _try_measure(images: Images, at: int) -> Values | None:
    try:
        if isinstance(images, FileImages):
            with open(images.paths[at], "rb") as file:  # noqa: PTH123 a Path costs as much as the header
                return measure(file)
        return measure(io.BytesIO(images.raw(at)))
    except MemoryError:
        raise
    except Exception:  # decoders raise many kinds of errors; `headstart.data.checks` names the file
        return None


def _choose_range(values: Mapping[str, Values]) -> Range:
    kinds = {value.kind for value in values.values()}
    lowest, highest = min(values, key=lambda path: values[path].low), max(values, key=lambda path: values[path].high)
    low, high = values[lowest].low, values[highest].high
    shown = f"{low:g} (in {lowest}) to {high:g} (in {highest})"
    advice = "say which values are black and white: data.pixel_range=[LOW,HIGH]"
    if kinds == {WHOLE, FLOATING} and max(value.high for value in values.values() if value.kind == FLOATING) <= 1:
        raise UserError(f"images with fractions and images with whole numbers in one set, {shown}: convert them alike")
    if low < 0:
        raise UserError(f"images with negative values, from {shown}; {advice}, for example [{low:g},{high:g}]")
    if kinds == {FLOATING} and high < 2**7:
        return 0.0, float(2 ** max(0, math.ceil(math.log2(high)))) if high > 0 else 1.0
    return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)


def _check_colour(values: Mapping[str, Values]) -> None:
    """Refuse 16-bit colour images that would be dark, because Pillow reads the upper 8 bits of each value only."""
    high = max((value.high for value in values.values()), default=65535)
    if high < 2**15:
        raise UserError(
            f"{next(iter(values))} and {len(values) - 1} more are 16-bit colour images with values up to {high:g}; "
            "only the upper 8 of 16 bits can be read, and would look black: convert them to 8 bits"
        )


def read_with_range(part: Part, pixel_range: Range) -> Part:
    """The part, whose deep images are read with this range."""
    if not is_encoded(part.split.images):
        return part
    images: Any = part.split.images  # every kind of encoded images has this field
    new = Part(replace(part.split, images=replace(images, pixel_range=pixel_range)), part.rows)
    if "ids" in vars(part):
        vars(new)["ids"] = part.ids
    return new
