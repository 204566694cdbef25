"""Decodes one image file, whatever its maker made of it, into the pixels that a person would see."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from headstart.data.names import readable

LONGEST = 16  # of a strip, only this many times its width is resized: the crop keeps a square of it anyway


@contextmanager
def patient() -> Iterator[None]:
    """Inside, Pillow reads large images and broken EXIF data without printing a warning; bombs it still refuses.

    To be entered before threads are started: Python's warning filters are the process's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def fault(error: Exception) -> str:
    """What is wrong with an image that could not be read, in words."""
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {limit:,} pixels, which may be a decompression bomb; make it smaller if you trust it"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image in a format that Pillow knows"
    return readable(f"{type(error).__name__}: {error}")


def square(image: Image.Image | np.ndarray, size: int, method: Image.Resampling, crop: int, out: np.ndarray) -> None:
    """Writes one image into `out` (uint8 [3, size, size]), upright, in RGB, resized and cut as by timm."""
    picture = to_rgb(Image.fromarray(image) if isinstance(image, np.ndarray) else image)
    picture = _shortened(picture)
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    scaled = (size, int(size * long / short))  # torchvision.transforms.Resize rounds the longer side down
    picture = picture.resize(scaled if width <= height else scaled[::-1], method)
    left, top = (round((side - crop) / 2) - round((size - crop) / 2) for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)))
    out[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as its author saw it, in mode RGB (or L where it is grey).

    EXIF rotation is applied, transparent pixels become white, 16-bit grey is scaled to 8 bits, an animation
    gives its first frame. Raises ValueError for floating-point and for 32-bit values beyond 16 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels; convert them to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"pixel values {values.min()} … {values.max()}; at most 16 bits are supported")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _shortened(picture: Image.Image) -> Image.Image:
    """The middle of a very long strip: resized whole, one of 1 x 60,000 pixels would take gigabytes."""
    width, height = picture.size
    long = LONGEST * min(width, height)
    if max(width, height) <= long:
        return picture
    left, top = max(0, width - long) // 2, max(0, height - long) // 2
    return picture.crop((left, top, left + min(width, long), top + min(height, long)))
