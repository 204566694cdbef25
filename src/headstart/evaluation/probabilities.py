"""Every probability that a run gave its test and validation images, in one file beside predictions.csv."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.environment import hide_in_text
from headstart.storage.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

NAME = "predictions.npz"  # in a run's folder


def save_probabilities(
    path: Path,
    parts: Mapping[str, tuple[Sequence[str], Tensor, Tensor]],
    classes: Sequence[str],
    probabilities: bool = True,
) -> None:
    """Write predictions.npz, completely or not at all; says so if there are no probabilities, and writes nothing.

    The file has `classes` (their names), and for each part (test, val) `<part>_names` of the images, `<part>_labels`
    int64 [n] and `<part>_probabilities` float32 [n, classes], in the order of predictions.csv. `numpy.load(path)` reads
    it; nothing in it is pickled.

    Args:
        parts: by name, the images' names, labels [n] and scores [n, classes].
        probabilities: whether the softmax of the scores gives probabilities.
    """
    import numpy as np

    if not probabilities:
        log.info("  %s is not written: the fitted head gives scores that are no probabilities", NAME)
        return
    arrays: dict[str, Any] = {"classes": np.array(list(classes), dtype=str)}
    for part, (names, labels, scores) in parts.items():
        arrays[f"{part}_names"] = np.array([hide_in_text(name) for name in names], dtype=str)
        arrays[f"{part}_labels"] = labels.cpu().numpy()
        arrays[f"{part}_probabilities"] = scores.detach().cpu().float().softmax(1).numpy()
    with write_whole(path, sum(array.nbytes for array in arrays.values())) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
