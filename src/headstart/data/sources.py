"""The sources of images: each function reads the labels and returns a `Source`; images are read later."""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.config.resolvers import FASHION_FOLDER
from headstart.data.source import Source, Split, array_split, file_split
from headstart.errors import UserError

__all__ = [
    "Source",
    "Split",
    "array_split",
    "csv",
    "digits",
    "fashion_mnist",
    "file_split",
    "hf_datasets",
    "image_folder",
    "torchvision",
]

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


def digits() -> Source:
    """The 1,797 handwritten digits (8x8, grey) that come with scikit-learn; they need no download."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # stored as 0 … 16
    return Source(tuple(str(d) for d in range(10)), array_split(pixels, bunch.target, "train"))


def fashion_mnist(root: str | None = None) -> Source:
    """Fashion-MNIST (28x28, grey) from Debian's package if it is installed, else downloaded to `root`.

    Args:
        root: the folder that it is downloaded to; null: data.
    """
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
    """Read a uint8 array from a gzipped IDX file (bytes 0, 0, type 8, number of axes, then big-endian lengths)."""
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
            while done < len(flat):  # directly into the array, without a second copy of the pixels
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
    """A classification set of torchvision by its class name, with the splits of its authors.

    Args:
        name: of the class in torchvision.datasets, such as CIFAR10.
        root: the folder of the set; it is downloaded to it if it is not there.
        options: arguments of its constructor.
    """
    from headstart.data import torchvision_sets

    return torchvision_sets.read(name, root, options)


def image_folder(root: str, layout: str = "auto") -> Source:
    """A folder with train (and val, test) folders of class folders, or one folder of class folders.

    The classes are the sorted names of the class folders of train. Images may be in subfolders of these, at any depth.

    Args:
        root: the folder of the images.
        layout: what the folders in `root` are: `splits` or `classes`; `auto` finds it out, and refuses to guess.
    """
    from headstart.data import folders

    if not root:
        raise UserError("data.source.root=: must be given, such as data.source.root=photos (. is the current folder)")
    return folders.read_folder(Path(root), layout)


def csv(
    path: str,
    image: str = "path",
    label: str = "label",
    split: str | None = "auto",
    images: str | None = None,
    suffix: str | None = None,
    group: str | None = None,
) -> Source:
    """A table with a header, separated by commas, semicolons or tabs, with a row for each image.

    Args:
        path: the file of the table.
        image: the column of the image files; they are relative to the table's folder, or to `images`.
        label: the column of the classes, one for each image.
        split: the column that contains train, val and test; `auto` finds it, null cuts the parts.
        images: the folder of the image files, relative to the working folder or to the table's.
        suffix: what is added to each image's name, such as `.jpg`.
        group: the column that says what an image belongs to, such as a patient; see `data.group`.
    """
    from headstart.data import tables

    return tables.read_table(Path(path), tables.ColumnNames(image, label, split, group), images, suffix)


def hf_datasets(
    path: str,
    image: str | None = None,
    label: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    group: str | None = None,
    split: str | None = "auto",
) -> Source:
    """A set of Hugging Face `datasets`, which is an extra: pip install 'headstart[hf]'.

    Args:
        path: its name on the hub; or a folder of parquet files, a parquet file, or a folder of `save_to_disk`.
        image: the column of images; null: found by its type.
        label: the column of classes, one for each image; null: found by its type or its name.
        train: the set's split for training; null: found by its name, as are `val` and `test`.
        val, test: the set's splits for these parts; they are cut from train where the set has none.
        config: the set's configuration, if it has several.
        revision: the version on the hub: a branch, a tag or a commit.
        group: the column that says what an image belongs to, such as a patient; see `data.group`.
        split: the column that contains train, val and test, of a set with one split; `auto` finds it, null: none.
    """
    from headstart.data import hf_sets

    named = {"train": train, "val": val, "test": test}
    return hf_sets.read(path, hf_sets.Columns(image, label, group, split), named, config, revision)
