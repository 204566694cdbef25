"""The types of a data set before it is split: images that are decoded on request, their splits, a source."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from headstart.data.digests import Contents
from headstart.data.filenames import escape_name
from headstart.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


class Images(Protocol):
    """A sequence of images; an image is decoded when it is indexed."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Image | np.ndarray: ...
    def raw(self, index: int, /) -> bytes:
        """The source bytes of one image, not decoded."""
        ...


def is_encoded(images: Images) -> bool:
    """Whether each image is decoded from bytes of its own, which may be damaged."""
    return getattr(images, "encoded", False)


@dataclass(frozen=True)
class ArrayImages:
    """Images that are already in memory: uint8 [n, H, W] or [n, H, W, 3]; UserError for another type."""

    array: np.ndarray

    def __post_init__(self) -> None:
        if self.array.dtype != np.uint8:
            raise UserError(
                f"images are an array of {self.array.dtype} with values {self.array.min()} … {self.array.max()}, but "
                "uint8 is needed: scale the values of all images together to 0 … 255, and use .astype(np.uint8)"
            )

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.array[index]

    def raw(self, index: int, /) -> bytes:
        return self.array[index].tobytes()


@dataclass(frozen=True)
class FileImages:
    """Image files, opened with Pillow one by one.

    Attributes:
        pixel_range: the values of 16-bit and floating-point images that become 0 and 255; see `data.pixel_range`.
    """

    paths: Sequence[str]
    pixel_range: tuple[float, float] | None = None
    encoded: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Image:
        from PIL import Image as pillow

        from headstart.data.deep import use_range

        return use_range(pillow.open(self.paths[index]), self.pixel_range)

    def raw(self, index: int, /) -> bytes:
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            name = escape_name(self.paths[index])
            raise UserError(f"image file {name} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set: images, labels int64 [n], and the name of each image (its path, or 'train[17]').

    `groups` says for each image what it belongs to, such as a patient; None if nothing is known.
    `root` is the folder of the data set, if the images are files; None: the folder that all of them share.
    Raises UserError if the numbers of images, labels and groups differ.
    """

    images: Images
    labels: np.ndarray
    names: Sequence[str]
    contents: Contents = field(default_factory=Contents)  # the digests of files that are already known
    groups: tuple[str, ...] | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise UserError(
                f"{len(self.images)} images but {len(self.labels)} labels: the set is damaged; fetch it again"
            )
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise UserError(f"data.group: {len(self.groups)} groups but {len(self.labels)} images")

    def __len__(self) -> int:
        return len(self.labels)

    def row_digests(self, rows: Sequence[int]) -> list[bytes]:
        """The blake2b-128 of the source bytes of each row; no file is decoded, and a known one is not read again."""
        if isinstance(self.images, FileImages):
            return self.contents.digests([self.images.paths[row] for row in rows])
        return [hashlib.blake2b(self.images.raw(row), digest_size=16).digest() for row in rows]

    def relative_paths(self) -> list[str] | None:
        """The path of each image within the data set's folder, with '/' between folders; None if they are no files."""
        if not isinstance(self.images, FileImages):
            return None
        paths = self.images.paths
        root = _shared_folder(paths) if self.root is None else self.root
        start = os.path.join(root, "")  # noqa: PTH118 a Path costs ten times as much
        inside = [
            path[len(start) :] if path.startswith(start) else os.path.relpath(path, root or ".") for path in paths
        ]
        return [path.replace(os.sep, "/") for path in inside]

    def stable_keys(self) -> list[bytes]:
        """What each image is known by, whatever other images are added: it decides into which part the image falls.

        This is the content of an array or of an image in a table, and the path of a file within the data set's folder.
        A path costs no reading of files that are then not used, it outlives a file that is saved again, and it is the
        same on every machine.
        """
        in_a_table = is_encoded(self.images) and not isinstance(self.images, FileImages)
        if isinstance(self.images, ArrayImages) or in_a_table:
            return self.row_digests(range(len(self)))
        names = self.relative_paths() or self.names
        return [unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape") for name in names]

    def select(self, rows: np.ndarray) -> Split:
        """A split of only these rows, so that the memory of the others can be freed if the images are arrays."""
        images: Images
        if isinstance(self.images, ArrayImages):
            images = ArrayImages(self.images.array[rows])
        elif isinstance(self.images, FileImages):
            images = replace(self.images, paths=[self.images.paths[i] for i in rows])
        else:
            raise TypeError(f"{type(self.images).__name__} is neither in memory nor files: its rows cannot be selected")
        groups = None if self.groups is None else tuple(self.groups[i] for i in rows)
        names = [self.names[i] for i in rows]
        return replace(self, images=images, labels=self.labels[rows], names=names, groups=groups)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set with the splits of its authors; a split that they do not provide is None and is taken from train."""

    classes: tuple[str, ...]
    train: Split
    val: Split | None = None
    test: Split | None = None

    def with_contents(self, contents: Contents) -> Source:
        """The same source; the digests of its files are stored in `contents`."""
        val, test = (None if split is None else replace(split, contents=contents) for split in (self.val, self.test))
        return replace(self, train=replace(self.train, contents=contents), val=val, test=test)


def array_split(array: np.ndarray, labels: np.ndarray, name: str) -> Split:
    """Make a split of images in memory, named 'train[0]', 'train[1]', …"""
    return Split(ArrayImages(array), labels.astype(np.int64), [f"{name}[{i}]" for i in range(len(labels))])


def file_split(samples: Iterable[tuple[str, int]], root: str | None = None) -> Split:
    """Make a split of image files, sorted by path, because the order in which a folder lists files is arbitrary.

    Args:
        samples: path and label of each image.
        root: the folder of the data set; None: the folder that all paths share.
    """
    ordered = sorted(samples)
    paths = [path for path, _ in ordered]
    labels = np.array([label for _, label in ordered], dtype=np.int64)
    return Split(FileImages(paths), labels, [escape_name(path) for path in paths], root=root)


def _shared_folder(paths: Sequence[str]) -> str:
    """The innermost folder that holds all of these paths; '' if there is none."""
    try:
        return os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120
    except ValueError:  # no paths, or both relative and absolute ones
        return ""
