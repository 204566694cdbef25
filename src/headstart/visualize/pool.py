"""The real images that a network's units are compared on: those of its run, or of folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headstart.data.filenames import escape_name
from headstart.data.loader import prefetch
from headstart.data.reader import list_faults
from headstart.errors import UserError
from headstart.features.inference import choose_batch_size
from headstart.tracking import progress
from headstart.visualize.run_data import read_run_data

if TYPE_CHECKING:
    from headstart.data.reader import ImageReader
    from headstart.predict.network import Network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Images, numbered from 0 over all readers.

    Attributes:
        readers: each decodes a part of the images.
        rows: the rows of each reader that are used.
        total: how many images there are, used or not.
    """

    readers: tuple[ImageReader, ...]
    rows: tuple[Tensor, ...]
    total: int

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    def describe(self) -> str:
        """How many images are used: `1,797 images`."""
        return f"{len(self):,} images" if len(self) == self.total else f"{len(self):,} of {self.total:,} images"

    def name(self, number: int) -> str:
        """The name of an image."""
        reader, row = self._find(number)
        return reader.part.names[row]

    def take(self, network: Network, numbers: Sequence[int]) -> Tensor:
        """Decode some images to what the network sees: uint8 [k, 3, s, s]."""
        found = [reader(torch.tensor([row])) for reader, row in map(self._find, numbers)]
        return to_pixels(network, network.normalize(torch.cat(found)))

    def batches(self, network: Network, what: str) -> Iterator[tuple[range, Tensor]]:
        """Yield normalised images [b, 3, s, s], on the device, with their numbers; progress is shown.

        Raises:
            UserError: names the images that cannot be read.
        """
        size, start = choose_batch_size(network.image_size, network.device), 0
        with progress.task(what, len(self)) as work:
            for reader, rows in zip(self.readers, self.rows, strict=True):
                for pixels, bad in prefetch(reader.read_rows, rows.split(size) if len(rows) else ()):
                    if bad:
                        raise UserError(f"{len(bad)} images cannot be read:{list_faults(reader.part, bad)}")
                    yield range(start, start + len(pixels)), network.normalize(pixels.to(network.device))
                    start += len(pixels)
                    work.done = start

    def _find(self, number: int) -> tuple[ImageReader, int]:
        for reader, rows in zip(self.readers, self.rows, strict=True):
            if number < len(rows):
                return reader, int(rows[number])
            number -= len(rows)
        raise IndexError(number)


def make_pool(readers: Sequence[ImageReader], most: int) -> Pool:
    """A pool of at most this many images, drawn evenly over all."""
    total = sum(len(reader.part) for reader in readers)
    every = max(1.0, total / max(1, most))
    chosen = (torch.arange(min(total, most)) * every).long()
    starts = torch.tensor([0, *(len(reader.part) for reader in readers)]).cumsum(0).tolist()
    rows = tuple(chosen[(chosen >= first) & (chosen < last)] - first for first, last in pairwise(starts))
    return Pool(tuple(readers), rows, total)


def find_pool(network: Network, given: Sequence[str] | None, most: int) -> Pool | None:
    """The images of the given files, or else those of the network's run; None: it has no run, or most=0."""
    if most < 1:
        return None
    if given is not None:
        for path in given:
            if not Path(path).exists():
                raise UserError(f"{escape_name(path)}: there is no such file or folder")
        return make_pool([network.transform.make_reader(given)], most)
    if network.folder is None:
        log.info("  %s is no run and has no images of its own: --images FOLDER shows which excite a unit", network.name)
        return None
    data = read_run_data(network)
    return make_pool([data.make_reader(part) for part in data.parts.values() if len(part)], most)


def to_pixels(network: Network, inputs: Tensor) -> Tensor:
    """Turn normalised images [n, 3, s, s] back into uint8 pixels, on the CPU."""
    mean, std = (torch.tensor(each).view(3, 1, 1).to(inputs) for each in (network.mean, network.std))
    return ((inputs * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).cpu()
