"""Decodes one image file, whatever its maker made of it, into the pixels that a person would see."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch.nn.functional import interpolate

from headstart.data.filenames import escape_name

LONGEST = 16  # of a strip, only this many times its width is resized: the crop keeps a square of it anyway
DRAFT = 2  # times the stored size that a JPEG file keeps at least when it is decoded at a fraction of its size
TORCH_MODES = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}
ORIENTATION = 0x0112  # the EXIF tag
JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0"  # how a JPEG file begins
TABLES, SCAN = b"\xdb\xc0\xc1\xc2\xc4\xdd", 0xDA  # what of it libjpeg needs before the pixels, and where they begin


@contextmanager
def silence_pillow() -> Iterator[None]:
    """Inside, Pillow reads large images and broken EXIF data without printing a warning; bombs it still refuses.

    To be entered before threads are started: Python's warning filters are the process's.
    """
    with warnings.catch_warnings():
        silence_pillow_for_good()
        yield


def silence_pillow_for_good() -> None:
    """What `patient` does, for good: for a process whose threads read images until it ends."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")


def describe_fault(error: Exception) -> str:
    """What is wrong with an image that could not be read, in words."""
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {limit:,} pixels, which may be a decompression bomb; make it smaller if you trust it"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image in a format that Pillow knows"
    return escape_name(f"{type(error).__name__}: {error}")


def write_square(
    image: Image.Image | np.ndarray, size: int, method: Image.Resampling, crop: int, out: np.ndarray
) -> None:
    """Writes one image into `out` (uint8 [size, size, 3]), upright, in RGB, resized and cut as by timm.

    Colours are resized by torch's uint8 kernels, which do what Pillow's do in a fifth of the time: of the photographs
    in the tests 0.4 % of the values differ, by 1, hardly any by 2.
    """
    pixels = _shortened(image if isinstance(image, np.ndarray) else decode(image, DRAFT * size))
    height, width = pixels.shape[:2]
    long = int(size * max(height, width) / min(height, width))  # torchvision.transforms.Resize rounds it down
    height, width = (size, long) if height <= width else (long, size)
    top, left = (round((side - crop) / 2) - round((size - crop) / 2) for side in (height, width))
    if method in TORCH_MODES and pixels.ndim == 3:
        # a batch before its channels move: else its strides are not those of channels last, and it takes twice as long
        batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))[None].permute(0, 3, 1, 2)
        resized = interpolate(batch, size=(height, width), mode=TORCH_MODES[method], antialias=True)
        pixels = resized[0].permute(1, 2, 0).numpy()
    else:
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), method))
    pixels = pixels[top : top + size, left : left + size]
    out[:] = pixels if pixels.ndim == 3 else pixels[..., None]


def decode(image: Image.Image, enough: int) -> np.ndarray:
    """uint8 [H, W, 3], or [H, W] where it is grey: an opened image as its author saw it; see `to_rgb`.

    A JPEG file's shorter side is decoded to as little as `enough` pixels where that saves work: at 1/2, 1/4 or 1/8, for
    which its cosine coefficients are summed (`PIL.Image.Image.draft`).
    """
    if isinstance(image, ImageFile.ImageFile) and image.format == "JPEG" and image.mode in ("RGB", "L"):
        factor = min(image.size) // enough
        if factor >= 2:
            image.draft(image.mode, (image.width // factor, image.height // factor))
        elif image.mode == "RGB" and image.getexif().get(ORIENTATION, 1) == 1:
            pixels = _by_libjpeg(image)
            if pixels is not None:
                return pixels
    return np.array(to_rgb(image))


def _by_libjpeg(image: ImageFile.ImageFile) -> np.ndarray | None:
    """A JPEG file's pixels, the same as Pillow's but without its copies of them; None: it cannot be decoded so."""
    from simplejpeg import decode_jpeg

    assert image.fp is not None
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(0)
    try:
        pixels = decode_jpeg(content)
    except ValueError:
        return None  # Pillow may be more patient, or knows what is wrong with it
    image.close()
    return pixels


def is_sound_photo(path: str, enough: int) -> bool:
    """Whether a file is a plain JPEG photograph that libjpeg decodes without complaint; False: `decoded` has to tell.

    It takes an eighth of Pillow's time for a small file. Large ones, which `decoded` need not decode whole, are left to
    it, and so are those with EXIF data, a profile, comments or whatever else libjpeg does not need.
    """
    from simplejpeg import decode_jpeg, decode_jpeg_header

    try:
        with open(path, "rb") as file:  # noqa: PTH123 a Path takes longer than what is read here
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
    """Whether nothing but tables stands between a JPEG file's beginning and its pixels."""
    if not content.startswith(JFIF):
        return False
    at = 20
    while content[at : at + 1] == b"\xff" and content[at + 1] in TABLES:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[at : at + 2] == bytes((0xFF, SCAN))


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


def _shortened(pixels: np.ndarray) -> np.ndarray:
    """The middle of a very long strip [H, W, ...]: resized whole, one of 1 x 60,000 pixels would take gigabytes."""
    height, width = pixels.shape[:2]
    long = LONGEST * min(width, height)
    left, top = max(0, width - long) // 2, max(0, height - long) // 2
    return pixels[top : top + min(height, long), left : left + min(width, long)]
