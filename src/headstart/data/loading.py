"""Decodes and resizes each image once into one uint8 tensor, and serves batches of its rows."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset, Sampler

from headstart.data.sources import FileImages
from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.data.splits import Part

log = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
CHUNK = 32  # rows handed to a thread at a time


class Pixels:
    """A part's images uint8 [n, 3, S, S], labels int64 [n], and each image's id and name.

    ``images`` may be a function that reads them: it is called when they are first looked at, so that a run whose
    features are on disk decodes nothing. Features [n, ...] may stand in the images' place.
    """

    def __init__(
        self, images: torch.Tensor | Callable[[], torch.Tensor], labels: torch.Tensor, ids: list[str], names: list[str]
    ) -> None:
        self._images, self.labels, self.ids, self.names = images, labels, ids, names

    @property
    def images(self) -> torch.Tensor:
        if not isinstance(self._images, torch.Tensor):
            self._images = self._images()
        return self._images

    def __len__(self) -> int:
        return len(self.ids)


def load(part: Part, size: int, interpolation: str, workers: int = 0, crop: int | None = None) -> Pixels:
    """Reads a part's images as `size` x `size` pixels: the shorter side resized, the centre cut out.

    `interpolation` is a Pillow filter by timm's name. `crop` is the side of the centre crop that follows;
    with it the two crops together have the offsets of timm's single one. Files are read by `workers` threads
    (0: one per core, at most 8). Raises UserError with the names of all images that cannot be read.
    """
    try:
        method = Image.Resampling[interpolation.upper()]
    except KeyError:
        known = ", ".join(m.name.lower() for m in Image.Resampling)
        raise UserError(f"interpolation '{interpolation}' is unknown; use one of: {known}") from None
    images = _allocate(len(part), size)
    target = images.numpy()
    bad: dict[int, str] = {}

    def fill(rows: range) -> int:
        for row in rows:
            try:
                square(part.split.images[int(part.rows[row])], size, method, crop or size, target[row])
            except MemoryError:
                raise
            except Exception as error:  # Pillow's decoders raise whatever the file makes them trip over
                bad[row] = f"{part.split.names[part.rows[row]]}: {type(error).__name__}: {error}"
        return len(rows)

    chunks = [range(start, min(start + CHUNK, len(part))) for start in range(0, len(part), CHUNK)]
    threads = workers or (min(8, _cores()) if isinstance(part.split.images, FileImages) else 1)
    if threads == 1:
        _report(map(fill, chunks), len(part))
    else:
        with ThreadPoolExecutor(threads) as pool:
            _report(pool.map(fill, chunks), len(part))
    if bad:
        shown = "\n  ".join(bad[row] for row in sorted(bad)[:10])
        raise UserError(f"{len(bad)} of {len(part)} images cannot be read; repair or remove them:\n  {shown}")
    return Pixels(images, torch.from_numpy(part.labels), part.ids, part.names)


def square(image: Image.Image | np.ndarray, size: int, method: Image.Resampling, crop: int, out: np.ndarray) -> None:
    """Writes one image into `out` (uint8 [3, size, size]), upright, in RGB, resized and cut as by timm."""
    picture = to_rgb(Image.fromarray(image) if isinstance(image, np.ndarray) else image)
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


def _report(done: Iterator[int], total: int) -> None:
    """Draws the counts and logs the progress every 10 s."""
    count, last = 0, time.monotonic()
    for n in done:
        count += n
        if time.monotonic() - last > 10:
            last = time.monotonic()
            log.info("read %s of %s images", f"{count:,}", f"{total:,}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _allocate(n: int, size: int) -> torch.Tensor:
    """Room for the images: in memory, or in a mapped temporary file where they fill more than half of it.

    The file has no name any more once it is mapped: it goes away with the process.
    """
    need = n * 3 * size * size
    if need <= free_memory() / 2:
        return torch.empty((n, 3, size, size), dtype=torch.uint8)
    folder = tempfile.gettempdir()
    if (room := shutil.disk_usage(folder).free) < need:
        raise UserError(
            f"the images take {need:,} bytes, more than half of the free memory, and {folder} has "
            f"{room:,} bytes free; use fewer (data.n_train) or smaller images (data.image_size), "
            "or set TMPDIR to a folder on a larger disk"
        )
    log.info("%.1f GB of images fill more than half of the free memory: kept in %s", need / 1e9, folder)
    handle, path = tempfile.mkstemp(prefix="headstart-", suffix=".pixels", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, need)  # a disk that fills up later would kill the process
        else:
            os.truncate(handle, need)
        return torch.from_file(path, shared=True, size=need, dtype=torch.uint8).view(n, 3, size, size)
    finally:
        os.close(handle)
        Path(path).unlink()


def free_memory() -> float:
    """Bytes that this process can still use: of the machine, or of its cgroup where that is less."""
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, float(limit) - float((group / "memory.current").read_text()))
    except (OSError, StopIteration):
        pass  # no Linux, or no cgroup: what is known counts
    return free


class Batches(Sampler[torch.Tensor]):
    """Row indices int64 [b] of each batch; the order is a function of (seed, phase, epoch) only."""

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int, phase: str) -> None:
        self.n, self.shuffle, self.seed, self.epoch = n, shuffle, seed, 0
        self.phase = int.from_bytes(hashlib.blake2b(phase.encode(), digest_size=8).digest(), "little")
        self.bounds = [*range(0, n, batch_size), n]
        if shuffle and batch_size > 1 and n > batch_size and n % batch_size == 1:
            del self.bounds[-2]  # batch norm cannot train on one image: it joins the batch before

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = torch.arange(self.n)
        if self.shuffle:
            keys = np.random.PCG64([self.seed, self.phase, self.epoch]).random_raw(self.n)
            order = torch.from_numpy(np.argsort(keys, kind="stable"))
        for start, stop in zip(self.bounds, self.bounds[1:], strict=False):
            yield order[start:stop]


class Rows(Dataset[Batch]):
    """Indexed by a tensor of rows, gives the batch of them."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: torch.Tensor) -> Batch:
        return self.pixels.images[rows], self.pixels.labels[rows], rows


def loader(
    pixels: Pixels,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    phase: str,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """Batches (images uint8 [b, 3, S, S], labels int64 [b], rows int64 [b]); call `loader.sampler.set_epoch`.

    A shuffled loader never ends in a batch of one image: that image joins the batch before.
    """
    sampler = Batches(len(pixels), batch_size, shuffle, seed, phase)
    return DataLoader(
        Rows(pixels),
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
    )
