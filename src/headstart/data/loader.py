"""Serves batches of a part's images: rows of one uint8 tensor, or files decoded when they are asked for."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from headstart.data.decoder import Decoder
from headstart.distributed import comm
from headstart.errors import UserError
from headstart.runtime import signals

if TYPE_CHECKING:
    from headstart.data.splits import Part

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
AHEAD = 2  # batches that a thread of this process makes while one is used
LARGE = 2**20  # bytes of a batch in memory from which a thread is worth its while


class Pixels:
    """A part's images uint8 [n, 3, S, S], labels int64 [n], and each image's id and name.

    `images` may be a function that reads them: it is called when they are first looked at, so that a run whose
    features are on disk decodes nothing. It may be a `Decoder` of the part's images: then they are streamed, decoded
    whenever a batch asks for them, and never held. Features [n, ...] may stand in the images' place. `seconds` are
    what reading the images took, where they were read before they were needed.
    """

    def __init__(
        self,
        images: torch.Tensor | Callable[[], torch.Tensor] | Decoder,
        labels: torch.Tensor,
        ids: list[str],
        names: list[str],
        seconds: float = 0.0,
    ) -> None:
        self._images, self.labels, self.ids, self.names, self._seconds = images, labels, ids, names, seconds

    def claim_reading_seconds(self) -> float:
        """What reading the images took before they were needed; 0 from the second call on: it is counted once."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @property
    def streamed(self) -> bool:
        return isinstance(self._images, Decoder)

    @property
    def images(self) -> torch.Tensor:
        """All of them at once; those of a streamed part are not kept for the next time."""
        if isinstance(self._images, Decoder):
            return self._images(torch.arange(len(self)))
        if not isinstance(self._images, torch.Tensor):
            self._images = self._images()
        return self._images

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return self._images.size if isinstance(self._images, Decoder) else self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """The images [b, 3, S, S] of these rows."""
        if isinstance(self._images, Decoder):
            return self._images(rows)
        images = self.images
        if images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last):
            # in their order in memory they are copied whole: a fifth of the time of indexing them as they are
            return images.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
        return images.index_select(0, rows)

    def batches(self, rows: torch.Tensor, size: int, *, workers: int = 0, pin: bool = False) -> Iterator[torch.Tensor]:
        """The images of these rows in their order, `size` at a time; streamed ones are decoded ahead of their use."""
        if self.streamed:
            for images, _, _ in _loader(self, rows.split(size), workers, pin):
                yield images
            return
        for some in rows.split(size):
            images = self.take(some)
            yield images.pin_memory() if pin else images


def load(part: Part, size: int, interpolation: str, workers: int = 0, crop: int | None = None) -> Pixels:
    """A part with all its images read; the arguments are those of `Decoder`."""
    images = Decoder(part, size, interpolation, workers, crop).all()
    return Pixels(images, torch.from_numpy(part.labels), part.ids, part.names)


class Batches(Sampler[torch.Tensor]):
    """Row indices int64 [b] of each batch; the order is a function of (seed, phase, epoch) only.

    Of several processes each takes every `world`-th row of each joint batch of `world * batch_size`: every row
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
        self.rank, self.world = comm.rank(), comm.world_size()
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
        return self.pixels.take(rows), self.pixels.labels[rows], rows


class Ahead(DataLoader[Batch]):
    """Makes batches in a thread of this process, some ahead of the one in use; small ones in memory when asked for."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # any iterator will do
        assert isinstance(self.dataset, Rows)
        rows = iter(self.sampler)
        if not self.dataset.pixels.streamed:
            for some in rows:
                batch = self._batch(some)
                yield batch
                if batch[0].nbytes >= LARGE:
                    break
        yield from self._ahead(rows)

    def _ahead(self, rows: Iterator[torch.Tensor]) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as pool:
            try:
                for some in rows:
                    waiting.append(pool.submit(self._batch, some))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _batch(self, rows: torch.Tensor) -> Batch:
        images, labels, rows = self.dataset[rows]
        return (images.pin_memory(), labels.pin_memory(), rows) if self.pin_memory else (images, labels, rows)


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
        views: rows of `pixels` that stand side by side for one image.
        balanced: draw every class equally often, by repeating the images of small ones.
    """
    n, shares = len(pixels.labels) // views, None
    if balanced:
        labels = pixels.labels[::views]
        shares = 1.0 / labels.bincount()[labels].double().numpy()
    sampler = Batches(n, batch_size, shuffle, seed, phase, views, shares)
    if workers and not pixels.streamed:
        pixels.images  # noqa: B018 read now: each worker would read them all for itself
    return _loader(pixels, sampler, workers, pin_memory)


def _loader(pixels: Pixels, batches: Iterable[torch.Tensor], workers: int, pin: bool) -> DataLoader[Batch]:
    """Batches of the given rows: by worker processes, or without any by a thread of this one."""
    kind = DataLoader if workers else Ahead
    return kind(
        Rows(pixels),
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin and torch.cuda.is_available(),
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_to_the_run,
    )


def _leave_signals_to_the_run(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: a worker that ended by it would break the step to be saved."""
    for signum in signals.SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signals.end_with_parent(signal.SIGKILL)  # a run that was killed tells them nothing
