"""Decode a part's images into uint8 tensors: all of them once, or some of them on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from headstart.data.decode import (
    DRAFT,
    TORCH_MODES,
    decode,
    describe_fault,
    is_sound_photo,
    silence_pillow,
    silence_pillow_forever,
    write_square,
)
from headstart.data.source import ArrayImages, FileImages, is_encoded
from headstart.data.square import Square
from headstart.errors import UserError
from headstart.runtime.hardware import usable_cores
from headstart.tracking import progress

if TYPE_CHECKING:
    from headstart.data.splits import Part

CHUNK = 32  # rows given to a thread at a time, at most


class ImageReader:
    """Decodes the images of a part on request: uint8 [n, 3, size, size], channels last in memory.

    Args:
        size: side of the result: an image's shorter side is resized to it, then the centre is cropped (see `resize`).
        interpolation: timm's name of a Pillow filter.
        workers: threads that decode files (0: one per core, at most 8); in a loader's worker process it is one.
        crop, resize, fill: see `headstart.data.square.Square`.
    """

    def __init__(
        self,
        part: Part,
        size: int,
        interpolation: str,
        workers: int = 0,
        crop: int | None = None,
        resize: str = "crop",
        fill: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        try:
            self.method = Image.Resampling[interpolation.upper()]
        except KeyError:
            known = ", ".join(m.name.lower() for m in Image.Resampling)
            raise UserError(f"interpolation '{interpolation}' is unknown; use one of: {known}") from None
        self.part, self.size, self.square = part, size, Square(size, crop or size, resize, fill)
        self.threads = workers or (min(8, usable_cores()) if is_encoded(part.split.images) else 1)

    @property
    def libraries(self) -> dict[str, str]:
        """The versions of the libraries whose code the pixels can depend on, without torch, which resizes.

        Of encoded images only their content tells which are JPEG files: simplejpeg may decode any of them.
        """
        images = self.part.split.images
        names: tuple[str, ...] = ("pillow",)
        if is_encoded(images):
            names = ("pillow", "simplejpeg")
        elif isinstance(images, ArrayImages) and images.array.ndim == 4 and self.method in TORCH_MODES:
            names = ()  # in colour and resized by torch
        return {name: version(name) for name in names}

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Decode the images of these rows of the part; a UserError names those that cannot be read."""
        return self._raise_if_bad(*self.read_rows(rows))

    def read_rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, dict[int, str]]:
        """Decode the images of these rows; also returns the faults of those that cannot be read, by row."""
        silence_pillow_forever()
        images, target = self._allocate(len(rows))
        bad: dict[int, str] = {}
        for _ in self._decode_rows(rows.tolist(), target, bad):
            pass
        return images, bad

    def read_all(self) -> torch.Tensor:
        """Decode all images; a UserError names those that cannot be read."""
        return self._raise_if_bad(*self.read_with_faults())

    def read_with_faults(self) -> tuple[torch.Tensor, dict[int, str]]:
        """Decode all images; also returns the faults of those that cannot be read, by row."""
        images, target = self._allocate(len(self.part))
        return images, self._read_all(target, "reading")

    def find_faults(self) -> dict[int, str]:
        """Find the faults of images that cannot be read, by row; no image is kept."""
        return self._read_all(None, "checking")

    def _raise_if_bad(self, images: torch.Tensor, bad: Mapping[int, str]) -> torch.Tensor:
        if bad:
            count = f"{len(bad)} of {len(self.part)} images cannot be read"
            raise UserError(f"{count}; repair or remove them:{list_faults(self.part, bad)}")
        return images

    def _allocate(self, n: int) -> tuple[torch.Tensor, np.ndarray]:
        pixels = torch.empty((n, self.size, self.size, 3), dtype=torch.uint8)
        return pixels.permute(0, 3, 1, 2), pixels.numpy()

    def _read_all(self, target: np.ndarray | None, verb: str) -> dict[int, str]:
        bad: dict[int, str] = {}
        with silence_pillow(), progress.task(f"{verb} the images", len(self.part)) as work:
            for done in self._decode_rows(range(len(self.part)), target, bad):
                work.done += done
        return bad

    def _decode_rows(self, rows: Sequence[int], target: np.ndarray | None, bad: dict[int, str]) -> Iterator[int]:
        """Decode these rows in threads into `target`, or, without a target, only check them; yields how many are done.

        Args:
            bad: gets the fault of each row that cannot be decoded.
        """
        threads = 1 if get_worker_info() else self.threads
        size = max(1, min(CHUNK, len(rows) // (4 * threads)))
        chunks = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]

        def fill(places: range) -> int:
            for place in places:
                row = rows[place]
                try:
                    self._decode(row, None if target is None else target[place])
                except MemoryError:
                    raise
                except Exception as error:  # decoders raise many kinds of errors
                    bad[row] = describe_fault(error)
            return len(places)

        if threads == 1:
            yield from map(fill, chunks)
        else:
            with ThreadPoolExecutor(threads) as pool:
                yield from pool.map(fill, chunks)

    def _decode(self, row: int, out: np.ndarray | None) -> None:
        """Decode one image into `out`, or only check that this is possible."""
        images, at = self.part.split.images, int(self.part.rows[row])
        if out is not None:
            write_square(images[at], self.square, self.method, out)
        elif is_encoded(images) and not self._is_sound(at):
            image = images[at]
            assert isinstance(image, Image.Image)
            decode(image, DRAFT * self.size)
        known = self.part.split.contents
        # looked at after decoding, so that a change in the meantime is noticed too; a look takes 5 us
        if isinstance(images, FileImages) and known.stamps and known.has_changed(images.paths[at], self.part.ids[row]):
            raise ValueError("its content has changed since this run began; start the run again")

    def _is_sound(self, at: int) -> bool:
        images = self.part.split.images
        return isinstance(images, FileImages) and is_sound_photo(images.paths[at], DRAFT * self.size)


def list_faults(part: Part, bad: Mapping[int, str], indent: str = "  ") -> str:
    """The first ten of a part's unreadable images and their faults, one line each."""
    lines = [f"\n{indent}{part.split.names[part.rows[row]]}: {bad[row]}" for row in sorted(bad)[:10]]
    return "".join(lines) + (f"\n{indent}…" if len(bad) > 10 else "")
