"""Batches of a part's images: rows of one uint8 tensor, or files that are decoded for each batch."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from headstart.data.batches import Batches
from headstart.data.reader import ImageReader
from headstart.data.workers import Batch, Message, kill_workers_at_exit, leave, open_message, pack, prepare_worker
from headstart.errors import UserError

Item = TypeVar("Item")
Made = TypeVar("Made")

PREFETCHED = 2  # batches that a thread of this process prepares while one is used
LARGE = 2**20  # bytes of a batch in memory; for smaller ones a thread costs more than it gains


class Pixels:
    """A part's images uint8 [n, 3, S, S], labels int64 [n], and the id and name of each image.

    `images` may be a function that reads them: it is called when they are first used, so that a run whose features are
    cached decodes nothing. It may be a `ImageReader` of the part's images: then the images are streamed, which means
    decoded for each batch and never held in memory. It may also be features [n, ...]. `seconds` is how long reading the
    images took, if they were read before they were needed.
    """

    def __init__(
        self,
        images: torch.Tensor | Callable[[], torch.Tensor] | ImageReader,
        labels: torch.Tensor,
        ids: list[str],
        names: list[str],
        seconds: float = 0.0,
    ) -> None:
        self._images, self.labels, self.ids, self.names, self._seconds = images, labels, ids, names, seconds

    def claim_reading_seconds(self) -> float:
        """The seconds that reading the images in advance took; later calls return 0, so that they are counted once."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @property
    def streamed(self) -> bool:
        return isinstance(self._images, ImageReader)

    @property
    def images(self) -> torch.Tensor:
        """All images at once; those of a streamed part are decoded again the next time."""
        if isinstance(self._images, ImageReader):
            return self._images(torch.arange(len(self)))
        if not isinstance(self._images, torch.Tensor):
            self._images = self._images()
        return self._images

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return self._images.size if isinstance(self._images, ImageReader) else self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """The images [b, 3, S, S] of these rows."""
        if isinstance(self._images, ImageReader):
            return self._images(rows)
        images = self.images
        if images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last):
            # indexing in the order of memory copies whole images: it takes a fifth of the time
            return images.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
        return images.index_select(0, rows)

    def batches(self, rows: torch.Tensor, size: int, *, workers: int = 0, pin: bool = False) -> Iterator[torch.Tensor]:
        """The images of these rows in their order, `size` at a time; streamed ones are decoded in advance."""
        if self.streamed:
            for images, _, _ in _build_loader(self, rows.split(size), workers, pin):
                yield images
            return
        for some in rows.split(size):
            images = self.take(some)
            yield images.pin_memory() if pin else images


class Rows(Dataset[Batch]):
    """A data set that is indexed by a tensor of rows and returns their batch."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: torch.Tensor) -> Batch:
        return self.pixels.take(rows), self.pixels.labels[rows], rows


class WorkerRows(Rows):
    """The same in a worker process: a batch, or the error, is packed for its way to the main process."""

    def __getitem__(self, rows: torch.Tensor) -> Message:  # type: ignore[override] # the main process opens it
        try:
            return pack(super().__getitem__(rows))
        except UserError as error:
            return error


class WorkerLoader(DataLoader[Batch]):
    """Lets worker processes make the batches; raises their UserError as it is."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # any iterator will do
        kill_workers_at_exit()
        try:
            for message in super().__iter__():
                yield open_message(message, self.pin_memory)
        except (ConnectionError, EOFError) as error:  # a worker died while this process took a batch from it
            time.sleep(1)  # torch's handler of SIGCHLD raises meanwhile, and names the worker and the signal
            raise RuntimeError(f"DataLoader worker (pid unknown) died: {error or type(error).__name__}") from error


def prefetch(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield what `make` returns for each item, in order; a thread makes the next ones in advance."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > PREFETCHED:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class PrefetchLoader(DataLoader[Batch]):
    """Prepares batches in advance in a thread of this process; small batches in memory are made without a thread."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # any iterator will do
        assert isinstance(self.dataset, Rows)
        rows = iter(self.sampler)
        if not self.dataset.pixels.streamed:
            for some in rows:
                batch = self._make_batch(some)
                yield batch
                if batch[0].nbytes >= LARGE:
                    break
        yield from prefetch(self._make_batch, rows)

    def _make_batch(self, rows: torch.Tensor) -> Batch:
        images, labels, rows = self.dataset[rows]
        return (images.pin_memory(), labels.pin_memory(), rows) if self.pin_memory else (images, labels, rows)


def make_loader(
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
    """Make a loader of batches: images uint8 [b, 3, S, S], labels int64 [b], rows int64 [b].

    Call `loader.sampler.set_epoch` before each epoch. A shuffled loader never ends with a batch of one image: that
    image is added to the batch before. The loader does not use torch's global generator, so that its state does not
    depend on where an interrupted epoch was resumed.

    Args:
        views: how many successive rows of `pixels` are views of one image.
        balanced: draw every class equally often, by repeating the images of small classes.
    """
    n, shares = len(pixels.labels) // views, None
    if balanced:
        labels = pixels.labels[::views]
        shares = 1.0 / labels.bincount()[labels].double().numpy()
    sampler = Batches(n, batch_size, shuffle, seed, phase, views, shares)
    if workers and not pixels.streamed:
        pixels.images  # noqa: B018 read now, because else each worker would read all of them
    return _build_loader(pixels, sampler, workers, pin_memory)


def _build_loader(pixels: Pixels, batches: Iterable[torch.Tensor], workers: int, pin: bool) -> DataLoader[Batch]:
    """Make a loader of the batches of these rows, with worker processes, or with a thread if `workers` is 0."""
    kind, rows = (WorkerLoader, WorkerRows) if workers else (PrefetchLoader, Rows)
    return kind(
        rows(pixels),
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin and torch.cuda.is_available(),
        generator=torch.Generator(),
        collate_fn=leave,
        worker_init_fn=prepare_worker,
    )
