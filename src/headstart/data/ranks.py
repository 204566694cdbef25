"""Put images, or groups of them, into an order that adding others does not change, and count how many to take.

A rank is a digest of the seed and of what an image is known by (`Split.stable_keys`). A part takes those that rank
first: as if each image with a rank below a threshold belonged to it, and the threshold were then moved until the count
is exact. An image that is added moves the threshold by one place, so at most one other image changes parts there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np


def rank_keys(keys: Sequence[bytes], seed: int, stream: int) -> np.ndarray:
    """uint64 [n]: a random rank of each key that depends only on the key, the seed and the stream.

    It is a digest and no generator's output: it cannot differ between platforms or versions of a library.
    """
    start = hashlib.blake2b(f"{seed} {stream} ".encode(), digest_size=8)
    ranks = bytearray()
    for key in keys:
        one = start.copy()
        one.update(key)
        ranks += one.digest()
    return np.frombuffer(bytes(ranks), "<u8")


def order_by_class(ranks: np.ndarray, labels: np.ndarray, rows: np.ndarray, classes: int) -> list[np.ndarray]:
    """The rows of each class, lowest rank first; `ranks` and `labels` are those of the whole split."""
    ordered = rows[np.argsort(ranks[rows], kind="stable")]
    return [ordered[labels[ordered] == c] for c in range(classes)]


def take_first(ordered: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The first rows of each class, ascending."""
    return np.sort(np.concatenate([rows[:k] for rows, k in zip(ordered, counts, strict=True)]))


def take_fold(ordered: list[np.ndarray], folds: int, fold: int) -> np.ndarray:
    """The rows of one of `folds` parts that have as many images of each class as the others, or one more.

    Which folds have one more changes from class to class, so that the folds are equal in total, too.
    """
    return np.sort(
        np.concatenate(
            [
                rows[(fold * len(rows) + c % folds) // folds : ((fold + 1) * len(rows) + c % folds) // folds]
                for c, rows in enumerate(ordered)
            ]
        )
    )


def count_share(counts: np.ndarray, fraction: float) -> np.ndarray:
    """`fraction` of each count, rounded half up, at least 1."""
    return np.maximum(np.floor(counts * fraction + 0.5).astype(int), 1)


def apportion(counts: np.ndarray, n: int, least: int) -> np.ndarray:
    """Distribute n over classes in proportion to their counts, by the largest remainder, each at least `least`."""
    quota = counts * (n / counts.sum())
    shares = np.clip(np.floor(quota).astype(int), np.minimum(least, counts), counts)
    while (short := n - shares.sum()) != 0:
        if short > 0:
            shares[(quota - shares).argmax()] += 1
        else:
            shares[np.where(shares > least, shares - quota, -math.inf).argmax()] -= 1
    return shares
