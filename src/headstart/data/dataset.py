"""The data of a run: a source split into parts, the images of each part decoded once into one uint8 tensor."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.content import digest_content, digest_listing, find_constant_parts
from headstart.data.filenames import escape_name
from headstart.data.parts import read_parts
from headstart.data.source import ArrayImages
from headstart.data.splits import Part
from headstart.data.square import Square
from headstart.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from headstart.data.loader import Pixels
    from headstart.data.reader import ImageReader

log = logging.getLogger(__name__)

SHOWN_CLASSES = 10  # at the start of a run


class Data:
    """The parts train, val and test of a data set; the pixels of each part are read when they are first used."""

    def __init__(
        self,
        classes: tuple[str, ...],
        parts: dict[str, Part],
        *,
        image_size: int,
        stored_size: int,
        interpolation: str,
        workers: int,
        streamed: bool = False,
        pixel_range: tuple[float, float] | None = None,
        resize: str = "crop",
        fill: tuple[int, int, int] = (0, 0, 0),
        listing: str = "",
        constant: tuple[str, ...] = ("test",),
    ) -> None:
        self.classes = classes
        self.parts = parts
        self.image_size = image_size  # side of the network's input, in pixels
        self.stored_size = stored_size  # side of the stored images, larger, so that crops can move
        self.interpolation = interpolation
        self.resize = resize  # how an image becomes a square: see `headstart.data.square`
        self.fill = fill
        self.streamed = streamed  # decoded for each batch, not held in memory
        self.pixel_range = pixel_range  # values of deep images that become black and white; None if no image is deep
        self.skipped: dict[str, list[str]] = {"train": [], "val": []}  # names of the unreadable images left out
        self._all_parts = dict(parts)
        self._listing, self._constant = listing, constant  # see `headstart.data.content`
        self._workers = workers

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images of each part."""
        return {name: len(part) for name, part in self.parts.items()}

    def describe_classes(self) -> str:
        """The names of the first ten classes with their numbers of images in each part, and how many more there are."""
        counts = np.stack([np.bincount(part.labels, minlength=len(self.classes)) for part in self.parts.values()], 1)
        rows = zip(self.classes[:SHOWN_CLASSES], counts.tolist(), strict=False)
        shown = [f"{escape_name(name)} ({' + '.join(map(str, numbers))})" for name, numbers in rows]
        more = len(self.classes) - len(shown)
        return f"images by class ({' + '.join(self.parts)}): {', '.join(shown)}" + f", … and {more} more" * (more > 0)

    @cached_property
    def train(self) -> Pixels:
        return self._load("train")

    @cached_property
    def val(self) -> Pixels:
        return self._load("val")

    @cached_property
    def test(self) -> Pixels:
        return self._load("test")

    def _load(self, name: str) -> Pixels:
        import torch

        from headstart.data.loader import Pixels

        part = self.parts[name]
        reader = self.make_reader(part)
        images = reader if self.streamed else reader.read_all
        return Pixels(images, torch.from_numpy(part.labels), part.ids, part.names)

    def set_images(self, name: str, images: Tensor, seconds: float) -> None:
        """Set the images of a part, which were already read, and the seconds that this took."""
        import torch

        from headstart.data.loader import Pixels

        part = self.parts[name]
        vars(self)[name] = Pixels(images, torch.from_numpy(part.labels), part.ids, part.names, seconds)

    def leave_out(self, name: str, rows: Iterable[int]) -> None:
        """Remove rows from a part, by their positions in it; to be called before the part is used."""
        part, bad = self.parts[name], sorted(rows)
        self.parts[name] = part.at(np.setdiff1d(np.arange(len(part)), bad))
        self.skipped[name] = [part.split.names[part.rows[row]] for row in bad]

    def decode_rows(self, name: str, rows: list[int]) -> Tensor:
        """Decode only some rows of a part: uint8 [k, 3, S, S]."""
        import torch

        return self.make_reader(self.parts[name])(torch.tensor(rows))

    def make_reader(self, part: Part) -> ImageReader:
        """Make the reader of a part's images: uint8 [n, 3, S, S]."""
        from headstart.data.reader import ImageReader

        size, workers = self.stored_size, self._workers
        return ImageReader(part, size, self.interpolation, workers, self.image_size, self.resize, self.fill)

    @cached_property
    def libraries(self) -> dict[str, str]:
        """The versions of the libraries that decode and resize the images of any part (`ImageReader.libraries`)."""
        return {
            name: version
            for part in self._all_parts.values()
            for name, version in self.make_reader(part).libraries.items()
        }

    @cached_property
    def digest(self) -> str:
        """blake2b-128 hex of class names, source bytes and labels, unreadable images included; reads every file."""
        total = hashlib.blake2b(repr(self.classes).encode(), digest_size=16)
        for name in ("train", "val", "test"):
            total.update(self._all_parts[name].digest().encode())
        return total.hexdigest()

    @cached_property
    def content(self) -> str:
        """A digest of the images, unreadable ones included, that is the same for every seed and fold."""
        return digest_content(self._listing, [self._all_parts[name] for name in self._constant])

    @cached_property
    def adaptations(self) -> list[str]:
        """Sentences that say how images are changed, in addition to cropping."""
        from headstart.data.shapes import describe_changes

        return describe_changes(self.parts, Square(self.stored_size, self.image_size, self.resize))


def prepare(
    data_cfg: Any,
    *,
    image_size: int,
    crop_pct: float,
    interpolation: str,
    workers: int = 0,
    processes: int = 1,
    cache_dir: Path | None = None,
    resize: str = "crop",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
) -> Data:
    """Prepare the data of the config group `data`; images are stored at the size of timm's evaluation resize.

    Args:
        resize: how an image becomes a square if data.resize=auto; see `headstart.data.square`.
        mean: the colour, in 0 … 1, that fills a square around an image that was padded.
        processes: how many processes hold the images, each a copy of its own.
        cache_dir: the folder in which the digests of files are cached, or None.
    """
    from headstart.data.pixel_range import set_pixel_range

    classes, parts = read_parts(data_cfg, cache_dir)
    listing, constant = digest_listing(classes, parts), find_constant_parts(parts, data_cfg.folds)
    parts, pixel_range = set_pixel_range(parts, data_cfg.pixel_range, cache_dir)
    square = Square.make(image_size, crop_pct, resize if data_cfg.resize == "auto" else data_cfg.resize, mean)
    need = processes * sum(map(len, parts.values())) * 3 * square.size**2
    return Data(
        classes,
        {name: _copy_rows(part) for name, part in parts.items()},
        image_size=image_size,
        stored_size=square.size,
        interpolation=interpolation,
        workers=workers,
        streamed=_must_stream(data_cfg.storage, need),
        pixel_range=pixel_range,
        resize=square.resize,
        fill=square.fill,
        listing=listing,
        constant=constant,
    )


def _must_stream(storage: str, need: int) -> bool:
    """Whether to decode images for each batch (data.storage=stream, or auto and not enough memory for `need` bytes).

    Raises:
        UserError: data.storage=memory, and there is not enough.
    """
    from headstart.distributed import comm
    from headstart.runtime.memory import free_memory

    if storage == "stream" or comm.world_size() > 1:  # the process that started the others has decided
        return storage == "stream"

    free = free_memory()
    if storage == "memory" and need > free:
        raise UserError(
            f"data.storage=memory: the images take {need / 1e9:.1f} GB, {free / 1e9:.1f} GB of memory are free; use "
            "data.storage=stream, fewer images (data.n_train) or smaller ones (data.image_size)"
        )
    if storage == "auto" and need > free / 2:
        log.info("%.1f GB of images fill more than half of the free memory: decoded for each batch", need / 1e9)
        return True
    return False


def _copy_rows(part: Part) -> Part:
    """Copy the rows of a part if the images are arrays and the part is small, so that the source can be freed."""
    if not isinstance(part.split.images, ArrayImages) or 2 * len(part) > len(part.split):
        return part
    return Part(part.split.select(part.rows), np.arange(len(part)))
