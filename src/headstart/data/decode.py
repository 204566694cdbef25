"""Decode one image file of any common format into the pixels that a person would see."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageFile
from torch.nn.functional import interpolate

from headstart.data.filenames import escape_name
from headstart.data.rgb import to_rgb
from headstart.data.square import Square

LONGEST = 16  # of a longer strip, only this many times its width is resized, because the crop is a square
DRAFT = 2  # a JPEG file may be decoded at a fraction of its size, but to at least this many times the stored size
TORCH_MODES = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}
ORIENTATION = 0x0112  # the EXIF tag
JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0"  # how a JPEG file begins
TABLES, SCAN = b"\xdb\xc0\xc1\xc2\xc4\xdd", 0xDA  # markers of the segments that libjpeg needs, and of the pixels


@contextmanager
def silence_pillow() -> Iterator[None]:
    """Inside this context, Pillow prints no warning about large images and broken EXIF data; it still refuses bombs.

    Enter it before threads are started, because Python's warning filters belong to the process.
    """
    with warnings.catch_warnings():
        silence_pillow_forever()
        yield


def silence_pillow_forever() -> None:
    """Do what `silence_pillow` does, without an end: for a process whose threads read images until it ends."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")


def describe_fault(error: Exception) -> str:
    """Describe what is wrong with an image that could not be read."""
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {limit:,} pixels, which may be a decompression bomb; make it smaller if you trust it"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image in a format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be opened: {error.strerror}"
    if isinstance(error, OSError | ValueError | SyntaxError) and str(error):  # Pillow's own words for what it found
        return escape_name(str(error))
    return escape_name(f"{type(error).__name__}: {error}")


def write_square(image: Image.Image | np.ndarray, square: Square, method: Image.Resampling, out: np.ndarray) -> None:
    """Write one image into `out` (uint8 [size, size, 3]), upright, in RGB, resized and cropped or padded as timm does.

    Colour images are resized by torch's uint8 kernels, which need a fifth of Pillow's time. In the photographs of the
    tests 0.4 % of the values differ from Pillow's, nearly all of them by 1.
    """
    size = square.size
    pixels = image if isinstance(image, np.ndarray) else decode(image, DRAFT * size)
    if square.resize == "crop":
        pixels = _cut_strip(pixels)
    height, width = square.fit(*pixels.shape[:2])
    if method in TORCH_MODES and pixels.ndim == 3:
        # add the batch axis before moving channels; else the strides are not channels last, and it takes twice as long
        batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))[None].permute(0, 3, 1, 2)
        resized = interpolate(batch, size=(height, width), mode=TORCH_MODES[method], antialias=True)
        pixels = resized[0].permute(1, 2, 0).numpy()
    else:
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), method))
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    top, left = square.place(height), square.place(width)
    if square.resize == "pad":
        out[:] = square.fill
        out[-top : height - top, -left : width - left] = pixels
    else:
        out[:] = pixels[top : top + size, left : left + size]


def decode(image: Image.Image, enough: int) -> np.ndarray:
    """Decode an opened image to uint8 [H, W, 3], or [H, W] if it is grey; see `headstart.data.rgb`.

    To save work, a JPEG file may be decoded at 1/2, 1/4 or 1/8 of its size (`PIL.Image.Image.draft`), as long as its
    shorter side keeps `enough` pixels.
    """
    if isinstance(image, ImageFile.ImageFile) and image.format == "JPEG" and image.mode in ("RGB", "L"):
        factor = min(image.size) // enough
        if factor >= 2:
            image.draft(image.mode, (image.width // factor, image.height // factor))
        elif image.mode == "RGB" and image.getexif().get(ORIENTATION, 1) == 1:
            pixels = _decode_by_libjpeg(image)
            if pixels is not None:
                return pixels
    return np.array(to_rgb(image))


def _decode_by_libjpeg(image: ImageFile.ImageFile) -> np.ndarray | None:
    """Decode a JPEG file without Pillow's extra copies; the pixels are the same. None if libjpeg reports an error."""
    from simplejpeg import decode_jpeg

    assert image.fp is not None
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(0)
    try:
        pixels = decode_jpeg(content)
    except ValueError:
        return None  # Pillow may accept the file, or has a better error message
    image.close()
    return pixels


def is_sound_photo(path: str, enough: int) -> bool:
    """Whether a file is a plain JPEG photograph that libjpeg decodes without an error; if not, `decode` has to decide.

    For a small file this takes an eighth of Pillow's time. Large files, which `decode` need not decode completely, and
    files with EXIF data, a colour profile, comments or similar segments return False.
    """
    from simplejpeg import decode_jpeg, decode_jpeg_header

    try:
        with open(path, "rb") as file:  # noqa: PTH123 making a Path takes longer than reading the file
            content = file.read()
        if not _is_plain(content):
            return False
        height, width, colours, _ = decode_jpeg_header(content)
        if colours != "YCbCr" or min(height, width) >= 2 * enough or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return False
        decode_jpeg(content)
    except (OSError, ValueError):
        return False
    return True


def _is_plain(content: bytes) -> bool:
    """Whether a JPEG file has only tables between its beginning and its pixels."""
    if not content.startswith(JFIF):
        return False
    at = 20
    while content[at : at + 1] == b"\xff" and content[at + 1] in TABLES:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[at : at + 2] == bytes((0xFF, SCAN))


def _cut_strip(pixels: np.ndarray) -> np.ndarray:
    """Cut out the middle of a very long strip [H, W, ...]; to resize all of 1 x 60,000 pixels would take gigabytes."""
    height, width = pixels.shape[:2]
    long = LONGEST * min(width, height)
    left, top = max(0, width - long) // 2, max(0, height - long) // 2
    return pixels[top : top + min(height, long), left : left + min(width, long)]
