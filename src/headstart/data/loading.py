"""Decodes and resizes each image once into one uint8 tensor, and serves batches of its rows."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from headstart import ranks, stopping
from headstart.data.decoding import fault, patient, square
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
    features are on disk decodes nothing. Features [n, ...] may stand in the images' place. ``seconds`` are what reading
    the images took, where they were read before they were needed: whoever needs them first counts them as its own.
    """

    def __init__(
        self,
        images: torch.Tensor | Callable[[], torch.Tensor],
        labels: torch.Tensor,
        ids: list[str],
        names: list[str],
        seconds: float = 0.0,
    ) -> None:
        self._images, self.labels, self.ids, self.names, self.seconds = images, labels, ids, names, seconds

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
    images, bad = read(part, size, interpolation, workers, crop)
    if bad:
        raise UserError(f"{len(bad)} of {len(part)} images cannot be read; repair or remove them:{listed(part, bad)}")
    return Pixels(images, torch.from_numpy(part.labels), part.ids, part.names)


def listed(part: Part, bad: Mapping[int, str], indent: str = "  ") -> str:
    """The first ten of a part's bad images, a line each, with what is wrong."""
    lines = [f"\n{indent}{part.split.names[part.rows[row]]}: {bad[row]}" for row in sorted(bad)[:10]]
    return "".join(lines) + (f"\n{indent}…" if len(bad) > 10 else "")


def read(
    part: Part, size: int, interpolation: str, workers: int = 0, crop: int | None = None
) -> tuple[torch.Tensor, dict[int, str]]:
    """The images of `load`, uint8 [n, 3, size, size], and what is wrong with those that cannot be read, by row."""
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
                bad[row] = fault(error)
        return len(rows)

    chunks = [range(start, min(start + CHUNK, len(part))) for start in range(0, len(part), CHUNK)]
    threads = workers or (min(8, _cores()) if isinstance(part.split.images, FileImages) else 1)
    with patient():
        if threads == 1:
            _report(map(fill, chunks), len(part))
        else:
            with ThreadPoolExecutor(threads) as pool:
                _report(pool.map(fill, chunks), len(part))
    return images, bad


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
    """Row indices int64 [b] of each batch; the order is a function of (seed, phase, epoch) only.

    Of several processes each takes every ``world``-th row of each joint batch of ``world * batch_size``: every row
    comes once, every process gets as many batches, and their sizes differ by one at most. Raises UserError where a
    process would get too few rows.

    Args:
        views: rows that stand side by side for one image: an epoch has one of each, in turn.
        shares: float64 [n], how often each image is to come in proportion to the others; an epoch then draws n images
            with repetition.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        phase: str,
        views: int = 1,
        shares: np.ndarray | None = None,
    ) -> None:
        self.n, self.shuffle, self.seed, self.epoch, self.views, self.shares = n, shuffle, seed, 0, views, shares
        self.skip = 0  # batches that the next iteration leaves out: they were done before the run was cut off
        self.rank, self.world = ranks.rank(), ranks.world()
        self.phase = int.from_bytes(hashlib.blake2b(phase.encode(), digest_size=8).digest(), "little")
        joint = batch_size * self.world
        least = self.world * (2 if shuffle and batch_size > 1 else 1)  # batch norm cannot train on one image
        if n < self.world:
            raise UserError(f"hardware.devices={self.world}: more processes than images of a part ({n})")
        self.bounds = [*range(0, n, joint), n]
        if n > joint and 0 < n % joint < least:
            del self.bounds[-2]  # too few for a batch: they join the batch before

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = torch.arange(self.n)
        if self.shuffle:
            keys = np.random.PCG64([self.seed, self.phase, self.epoch]).random_raw(self.n)
            order = torch.from_numpy(np.argsort(keys, kind="stable"))
            if self.shares is not None:
                bounds = np.cumsum(self.shares)
                order = torch.from_numpy(np.searchsorted(bounds, keys / 2.0**64 * bounds[-1], side="right"))
                order = order.clamp_max(self.n - 1)
            order = order * self.views + (order + self.epoch) % self.views
        batches = list(pairwise(self.bounds))[self.skip :]
        self.skip = 0
        for start, stop in batches:
            yield order[start:stop][self.rank :: self.world]


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
    views: int = 1,
    balanced: bool = False,
) -> DataLoader[Batch]:
    """Batches (images uint8 [b, 3, S, S], labels int64 [b], rows int64 [b]); call `loader.sampler.set_epoch`.

    A shuffled loader never ends in a batch of one image: that image joins the batch before. Nothing is drawn from
    torch's global generator, so that a resumed epoch finds it as it was left.

    Args:
        views: rows of ``pixels`` that stand side by side for one image.
        balanced: draw every class equally often, by repeating the images of small ones.
    """
    n, shares = len(pixels.labels) // views, None
    if balanced:
        labels = pixels.labels[::views]
        shares = 1.0 / labels.bincount()[labels].double().numpy()
    sampler = Batches(n, batch_size, shuffle, seed, phase, views, shares)
    if workers:
        pixels.images  # noqa: B018 read now: each worker would read them all for itself
    return DataLoader(
        Rows(pixels),
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_to_the_run,
    )


def _leave_signals_to_the_run(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: a worker that ended by it would break the step to be saved."""
    for signum in stopping.SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    stopping.end_with_parent(signal.SIGKILL)  # a run that was killed tells them nothing
