"""One image with more than 8 bits a pixel: what its values are, and how a range of them becomes 8 bits."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

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


def turn_upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says that it is to be seen."""
    if isinstance(image, ImageFile.ImageFile) and image.format == "TIFF":
        # without a name Pillow does not map it into memory, and so reads a grey one with its own sides, not the turned
        image.filename = ""
    return ImageOps.exif_transpose(image)


def use_range(image: Image.Image, pixel_range: tuple[float, float] | None) -> Image.Image:
    """The image with 8 bits a pixel if it is deep and a range is known, else as it is."""
    return to_8_bits(image, *pixel_range) if pixel_range and is_deep(image) else image


def to_8_bits(image: Image.Image, low: float, high: float) -> Image.Image:
    """A deep image in mode L, upright: `low` becomes 0, `high` 255; ValueError for NaN or infinity."""
    values = np.asarray(turn_upright(image)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity; write numbers there")
    scaled = (values - low) * (255 / (high - low))
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def measure(file: BinaryIO) -> Values:
    """Find what the values of an image file are, without NaN and infinity; of 8-bit files only the header is read."""
    header = file.read(26)
    file.seek(0)
    if header.startswith(b"\x89PNG\r\n\x1a\n") and header[24:25] != b"\x10":  # bits of a channel
        return Values(SHALLOW)
    with Image.open(file) as image:
        # of 16-bit colour Pillow reads the upper byte alone; how a file stores its pixels is known before it is read
        if not is_deep(image) and any(";16" in str(tile) for tile in image.tile):
            pixels, kind = np.asarray(image).astype(np.int64) * 256 + 255, COLOUR
        elif is_deep(image):
            pixels, kind = np.asarray(image), FLOATING if image.mode == "F" else WHOLE
        else:
            return Values(SHALLOW)
    pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return Values(kind)
    some = pixels[:: max(1, pixels.size // SAMPLE)]
    return Values(kind, float(pixels.min()), float(pixels.max()), float(np.percentile(some, 99.9)))
