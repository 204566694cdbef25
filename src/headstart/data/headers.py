"""What the header of each image says: size, mode and format, without decoding its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from headstart.data.image import describe_fault, silence_pillow
from headstart.data.source import FileImages, Images

if TYPE_CHECKING:
    from headstart.data.splits import Part

THREADS, BLOCK = 8, 64  # and images that one of them takes at a time


@dataclass(frozen=True)
class Header:
    """Width and height in pixels as stored, Pillow's mode and format; `fault` says why the header cannot be read."""

    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    fault: str = ""


def read_headers(part: Part) -> list[Header]:
    """Read the header of each image of a part, in the order of its rows."""
    images, rows = part.split.images, part.rows.tolist()
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    with silence_pillow(), ThreadPoolExecutor(THREADS) as pool:
        return [header for some in pool.map(lambda block: list(_read(images, block)), blocks) for header in some]


def _read(images: Images, rows: Sequence[int]) -> Iterator[Header]:
    for row in rows:
        try:
            image = Image.open(images.paths[row]) if isinstance(images, FileImages) else images[row]
            if isinstance(image, np.ndarray):
                mode = "L" if image.ndim == 2 else "RGB"
                yield Header(image.shape[1], image.shape[0], mode, "array")
                continue
            with image:
                yield Header(*image.size, image.mode, image.format or "decoded")
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers of headers raise many kinds of errors
            yield Header(fault=describe_fault(error))
