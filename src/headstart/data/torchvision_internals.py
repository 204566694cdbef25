"""The private parts of torchvision that headstart uses, each with the reason why no public part will do.

===========================  ===========================================================================================
`_ARCHIVE_EXTRACTORS`        the table in which every extraction looks its extractor up. The public `extract_archive` is
                             imported by name into the module of each set, where replacing it has no effect.
`_samples`, `_labels`,       the files of a set and their labels. In public a set gives image by image, decoded: every
`_image_files`, `_images`    image would be decoded to learn its label, and the path of none would be known. About half
                             of the sets keep them in public (`samples`, `imgs`, `targets`, `labels`).
`_base_folder`, `_FILES`,    where PCAM's labels lie, an HDF5 file of their own: for the same reason.
`_split`
===========================  ===========================================================================================

`tests/data/test_torchvision_internals.py` looks for each part in the installed version.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FILES = ("_image_files", "_images", "imgs")  # where a set keeps paths without labels
LABELS = ("_labels", "targets", "labels")  # and labels without paths


def archive_extractors() -> dict[str, Callable[..., None]]:
    """By archive type (`.tar`, `.zip`), what extracts it: called with the archive, the folder, the compression."""
    from torchvision.datasets import utils

    table: dict[str, Callable[..., None]] = utils._ARCHIVE_EXTRACTORS
    return table


def find_samples(dataset: Any) -> Sequence[tuple[Any, int]] | None:
    """Pairs of an image, or its path, and its label; None if the set keeps the two apart."""
    samples: Sequence[tuple[Any, int]] | None = getattr(dataset, "_samples", None) or getattr(dataset, "samples", None)
    return samples


def find_files(dataset: Any) -> Sequence[Any] | None:
    """The paths of the images (Places365: with their labels); None if the set has its images in memory."""
    files: Sequence[Any] | None = next((getattr(dataset, key) for key in FILES if hasattr(dataset, key)), None)
    return files


def read_labels(dataset: Any) -> np.ndarray:
    """The labels as the set has them: [n], or [n, …] where there are several kinds."""
    return np.asarray(next(getattr(dataset, key) for key in LABELS if hasattr(dataset, key)))


def read_pcam_labels(dataset: Any) -> np.ndarray:
    """The labels [n] of the set PCAM."""
    with dataset.h5py.File(dataset._base_folder / dataset._FILES[dataset._split]["targets"][0]) as file:
        return np.asarray(file["y"]).reshape(-1)
