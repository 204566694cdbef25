"""Where images come from: each function reads labels at once, images lazily, and returns a `Source`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headstart.config.resolvers import FASHION_FOLDER
from headstart.data.digests import Contents
from headstart.data.filenames import escape_name
from headstart.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Images(Protocol):
    """A sequence of images that decodes one only when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Image | np.ndarray: ...
    def raw(self, index: int, /) -> bytes:
        """The source bytes of one image, undecoded."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images that are already in memory: uint8 [n, H, W] or [n, H, W, 3]."""

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.array[index]

    def raw(self, index: int, /) -> bytes:
        return self.array[index].tobytes()


@dataclass(frozen=True)
class FileImages:
    """Image files, opened with Pillow one by one."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Image:
        from PIL import Image as pillow

        return pillow.open(self.paths[index])

    def raw(self, index: int, /) -> bytes:
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            name = escape_name(self.paths[index])
            raise UserError(f"image file {name} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: images, labels int64 [n] and each image's name (its path, or 'train[17]').

    Raises UserError where the numbers of images and labels differ.
    """

    images: Images
    labels: np.ndarray
    names: Sequence[str]
    contents: Contents = field(default_factory=Contents)  # what is remembered of files

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise UserError(
                f"{len(self.images)} images but {len(self.labels)} labels: the set is damaged; fetch it again"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self, indices: Iterable[int] | np.ndarray) -> str:
        """The blake2b-128 hex of these rows' source bytes and labels, in order; no file is decoded."""
        rows = [int(i) for i in indices]
        total = hashlib.blake2b(digest_size=16)
        for row, content in zip(rows, self.row_digests(rows), strict=True):
            total.update(content + int(self.labels[row]).to_bytes(8, "little", signed=True))
        return total.hexdigest()

    def row_digests(self, rows: Sequence[int]) -> list[bytes]:
        """The blake2b-128 of each row's source bytes; no file is decoded, and none read that is remembered."""
        if isinstance(self.images, FileImages):
            return self.contents.digests([self.images.paths[row] for row in rows])
        return [hashlib.blake2b(self.images.raw(row), digest_size=16).digest() for row in rows]

    def select(self, rows: np.ndarray) -> Split:
        """The given rows alone, so that the memory of the others can be freed where images are arrays."""
        names = [self.names[i] for i in rows]
        if isinstance(self.images, ArrayImages):
            return Split(ArrayImages(self.images.array[rows]), self.labels[rows], names)
        if isinstance(self.images, FileImages):
            return Split(FileImages([self.images.paths[i] for i in rows]), self.labels[rows], names, self.contents)
        raise TypeError(f"{type(self.images).__name__} is neither in memory nor files: its rows cannot be selected")


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as its makers split it; a part that they did not make is None and is cut from train."""

    classes: tuple[str, ...]
    train: Split
    val: Split | None = None
    test: Split | None = None

    def remembered(self, contents: Contents) -> Source:
        """The same with the digests of its files remembered there."""
        val, test = (None if split is None else replace(split, contents=contents) for split in (self.val, self.test))
        return replace(self, train=replace(self.train, contents=contents), val=val, test=test)


def array_split(array: np.ndarray, labels: np.ndarray, name: str) -> Split:
    """A split of images in memory, named 'train[0]', 'train[1]', …"""
    return Split(ArrayImages(array), labels.astype(np.int64), [f"{name}[{i}]" for i in range(len(labels))])


def file_split(samples: Iterable[tuple[str, int]]) -> Split:
    """A split of image files, sorted by path: the order of a folder's listing differs between machines."""
    ordered = sorted(samples)
    paths = [path for path, _ in ordered]
    labels = np.array([label for _, label in ordered], dtype=np.int64)
    return Split(FileImages(paths), labels, [escape_name(path) for path in paths])


def digits() -> Source:
    """The 1,797 handwritten digits (8x8, grey) that scikit-learn ships; they need no download."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # stored as 0 … 16
    return Source(tuple(str(d) for d in range(10)), array_split(pixels, bunch.target, "train"))


def fashion_mnist(root: str | None = None) -> Source:
    """Fashion-MNIST (28x28, grey) from Debian's package if installed, else downloaded below `root`."""
    if not FASHION_FOLDER.is_dir():
        return torchvision("FashionMNIST", root or "data")

    def read(prefix: str, name: str) -> Split:
        images = _read_idx(FASHION_FOLDER / f"{prefix}-images-idx3-ubyte.gz")
        labels = _read_idx(FASHION_FOLDER / f"{prefix}-labels-idx1-ubyte.gz")
        if len(images) != len(labels):
            raise UserError(
                f"{FASHION_FOLDER}: {len(images)} {prefix} images but {len(labels)} labels; "
                "reinstall the Debian package dataset-fashion-mnist"
            )
        return array_split(images, labels, name)

    return Source(FASHION_CLASSES, train=read("train", "train"), test=read("t10k", "test"))


def _read_idx(path: Path) -> np.ndarray:
    """A uint8 array from a gzipped IDX file (bytes 0, 0, type 8, number of axes, then big-endian lengths)."""
    import gzip
    import zlib

    try:
        with gzip.open(path) as file:
            kind, axes = file.read(4)[2:]
            shape = np.frombuffer(file.read(4 * axes), dtype=">u4").astype(int)
            if kind != 8:
                raise ValueError(f"IDX type {kind}, not 8 (bytes)")
            array = np.empty(shape, dtype=np.uint8)
            flat, done = array.reshape(-1).data, 0
            while done < len(flat):  # straight into the array: no second copy of the pixels
                got = file.readinto(flat[done:])
                if not got:
                    raise EOFError(f"{done} bytes of {len(flat)}")
                done += got
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read ({error}); reinstall the Debian package dataset-fashion-mnist"
        ) from error
    return array


def torchvision(name: str, root: str = "data", **options: Any) -> Source:
    """A classification set of torchvision by its class name, with its makers' splits.

    `options` go to its constructor. What is missing below `root` is downloaded.
    """
    from headstart.data import torchvision_sets

    return torchvision_sets.read(name, root, options)


def image_folder(root: str) -> Source:
    """A folder with train (and val, test) folders of class folders, or one folder of class folders.

    Classes are the sorted names of the class folders of train; images may lie at any depth below them.
    """
    from headstart.data import folders

    return folders.read_folder(Path(root))


def csv(path: str, image: str = "path", label: str = "label", split: str = "split") -> Source:
    """A CSV file with a header and the columns path and label; paths are relative to the file.

    An optional column split holds train, val or test. `image`, `label` and `split` name the columns where
    they are called otherwise. Classes are the sorted labels (by value where all are whole numbers).
    """
    from headstart.data import folders

    return folders.read_csv(Path(path), image, label, split)
