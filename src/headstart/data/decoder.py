"""Decodes a part's images into uint8 tensors: all of them once, or some of them whenever they are asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from headstart.data.image import (
    DRAFT,
    decode,
    describe_fault,
    is_sound_photo,
    silence_pillow,
    silence_pillow_for_good,
    write_square,
)
from headstart.data.source import FileImages
from headstart.errors import UserError
from headstart.runtime.hardware import usable_cores

if TYPE_CHECKING:
    from headstart.data.splits import Part

log = logging.getLogger(__name__)

CHUNK = 32  # rows handed to a thread at a time, at most


class Decoder:
    """The images of a part, decoded when they are asked for: uint8 [n, 3, size, size], channels last in memory.

    Args:
        size: the side: an image's shorter side is resized to it, and the centre cut out.
        interpolation: a Pillow filter by timm's name.
        workers: threads that decode files (0: one per core, at most 8); in a loader's worker process there is one.
        crop: the side of the centre crop that follows; with it the two crops together have the offsets of timm's single
            one.
    """

    def __init__(self, part: Part, size: int, interpolation: str, workers: int = 0, crop: int | None = None) -> None:
        try:
            self.method = Image.Resampling[interpolation.upper()]
        except KeyError:
            known = ", ".join(m.name.lower() for m in Image.Resampling)
            raise UserError(f"interpolation '{interpolation}' is unknown; use one of: {known}") from None
        self.part, self.size, self.crop = part, size, crop or size
        self.threads = workers or (min(8, usable_cores()) if isinstance(part.split.images, FileImages) else 1)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """The images of these rows of the part; UserError names those that cannot be read."""
        silence_pillow_for_good()
        images, target = self._room(len(rows))
        bad: dict[int, str] = {}
        for _ in self._decoded(rows.tolist(), target, bad):
            pass
        return self._sound(images, bad)

    def all(self) -> torch.Tensor:
        """All images; UserError names those that cannot be read."""
        return self._sound(*self.read())

    def read(self) -> tuple[torch.Tensor, dict[int, str]]:
        """All images, and what is wrong with those that cannot be read, by row."""
        images, target = self._room(len(self.part))
        return images, self._read(target, "read")

    def faults(self) -> dict[int, str]:
        """What is wrong with those that cannot be read, by row; no image is kept."""
        return self._read(None, "checked")

    def _sound(self, images: torch.Tensor, bad: Mapping[int, str]) -> torch.Tensor:
        if bad:
            count = f"{len(bad)} of {len(self.part)} images cannot be read"
            raise UserError(f"{count}; repair or remove them:{list_faults(self.part, bad)}")
        return images

    def _room(self, n: int) -> tuple[torch.Tensor, np.ndarray]:
        pixels = torch.empty((n, self.size, self.size, 3), dtype=torch.uint8)
        return pixels.permute(0, 3, 1, 2), pixels.numpy()

    def _read(self, target: np.ndarray | None, verb: str) -> dict[int, str]:
        bad: dict[int, str] = {}
        with silence_pillow():
            report_progress(self._decoded(range(len(self.part)), target, bad), len(self.part), verb)
        return bad

    def _decoded(self, rows: Sequence[int], target: np.ndarray | None, bad: dict[int, str]) -> Iterator[int]:
        """Decodes these rows into `target`, or to see whether they can be, by threads; gives how many were done."""
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
                except Exception as error:  # decoders raise whatever the file makes them trip over
                    bad[row] = describe_fault(error)
            return len(places)

        if threads == 1:
            yield from map(fill, chunks)
        else:
            with ThreadPoolExecutor(threads) as pool:
                yield from pool.map(fill, chunks)

    def _decode(self, row: int, out: np.ndarray | None) -> None:
        """Decode one image, into `out`, or to see whether it can be."""
        images, at = self.part.split.images, int(self.part.rows[row])
        if out is not None:
            write_square(images[at], self.size, self.method, self.crop, out)
        elif isinstance(images, FileImages) and not is_sound_photo(images.paths[at], DRAFT * self.size):
            decode(images[at], DRAFT * self.size)


def list_faults(part: Part, bad: Mapping[int, str], indent: str = "  ") -> str:
    """The first ten of a part's bad images, a line each, with what is wrong."""
    lines = [f"\n{indent}{part.split.names[part.rows[row]]}: {bad[row]}" for row in sorted(bad)[:10]]
    return "".join(lines) + (f"\n{indent}…" if len(bad) > 10 else "")


def report_progress(done: Iterator[int], total: int, verb: str) -> None:
    """Draws the counts and logs the progress every 10 s, with how long the rest will take."""
    count, began = 0, time.monotonic()
    last = began
    for n in done:
        count += n
        now = time.monotonic()
        if now - last > 10:
            last = now
            left = (now - began) * (total - count) / count
            log.info("  %s %s of %s images; about %.0f s to go", verb, f"{count:,}", f"{total:,}", left)
