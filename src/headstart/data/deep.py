"""One image with more than 8 bits a pixel: what its values are, and how a range of them becomes 8 bits."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

SHALLOW, WHOLE, FLOATING, COLOUR = range(4)  # 8 bits or fewer; grey whole numbers; grey floating point; 16-bit colour
SAMPLE = 100_000  # pixels that are looked at for a percentile


@dataclass(frozen=True)
class Values:
    """The kind of an image, and, if it is deep, its lowest and highest value and its 99.9th percentile."""

    kind: int
    low: float = 0.0
    high: float = 0.0
    most: float = 0.0


def is_deep(image: Image.Image) -> bool:
    """Whether an image is grey with more than 8 bits a pixel."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bits(image: Image.Image, low: float, high: float) -> Image.Image:
    """A deep image in mode L, upright: `low` and less become 0, `high` and more 255; ValueError for NaN."""
    values = np.asarray(ImageOps.exif_transpose(image)).astype(np.float32)
    if np.isnan(values).any():
        raise ValueError("it holds NaN; write numbers there")
    scaled = (values - low) * (255 / (high - low))
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def measure(path: str) -> Values:
    """Find what the values of an image file are; of an 8-bit file only the header is read."""
    with open(path, "rb") as file:  # noqa: PTH123 a Path costs as much as the header
        header = file.read(26)
    if header.startswith(b"\x89PNG\r\n\x1a\n") and header[24:25] != b"\x10":  # bits of a channel
        return Values(SHALLOW)
    with Image.open(path) as image:
        # of 16-bit colour Pillow reads the upper byte alone; how a file stores its pixels is known before it is read
        if not is_deep(image) and any(";16" in str(tile) for tile in image.tile):
            pixels, kind = np.asarray(image).astype(np.int64) * 256 + 255, COLOUR
        elif is_deep(image):
            pixels, kind = np.asarray(image), FLOATING if image.mode == "F" else WHOLE
        else:
            return Values(SHALLOW)
    some = pixels.ravel()[:: max(1, pixels.size // SAMPLE)]
    return Values(kind, float(np.nanmin(pixels)), float(np.nanmax(pixels)), float(np.nanpercentile(some, 99.9)))
