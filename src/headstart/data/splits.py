"""Split a source into train, validation and test: stratified, seeded, and the same on every platform."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from headstart.data.source import Source, Split
from headstart.errors import UserError

TRAIN_STREAM, TEST_STREAM = 0, 1  # so that the test set and the training images are drawn independently
TEST_SEED = 0  # fixed: the test set is the same for every split seed


@dataclass(frozen=True, eq=False)
class Part:
    """Rows (int64, ascending) of one split of a source."""

    split: Split
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.rows]

    @property
    def names(self) -> list[str]:
        return [self.split.names[i] for i in self.rows]

    @cached_property
    def ids(self) -> list[str]:
        """The id of each image: the blake2b-128 hex of its source bytes."""
        return [digest.hex() for digest in self.split.row_digests(self.rows.tolist())]

    def at(self, positions: np.ndarray) -> Part:
        """Some of these rows, by their positions 0 … n - 1 in this part; ids that are already computed are kept."""
        some = Part(self.split, self.rows[positions])
        if "ids" in vars(self):
            vars(some)["ids"] = [self.ids[i] for i in positions]
        return some

    def digest(self) -> str:
        """Compute a digest of the ids and labels of these rows, without decoding an image."""
        total = hashlib.blake2b(digest_size=16)
        for id_, label in zip(self.ids, self.labels, strict=True):
            total.update(bytes.fromhex(id_) + int(label).to_bytes(8, "little", signed=True))
        return total.hexdigest()


def split_source(
    source: Source,
    *,
    train_per_class: int | None = None,
    train_fraction: float | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> dict[str, Part]:
    """Split a source into the parts train, val and test.

    At most one of `train_per_class`, `train_fraction` and `n_train` sets the number of labelled images, which is train
    and validation together: `val_fraction` of each class, at least one image, is for validation. The source's own
    validation set is used, all of it, only if none of these three is set. If the source has no test set,
    `test_fraction` of each class is taken from train first, with a fixed seed; `n_test` reduces the test set with that
    seed too. The images of a class are ranked once per seed, so that the training images of a smaller
    `train_per_class` are also those of a larger one.
    """
    _check_settings(train_per_class, train_fraction, n_train, n_test, val_fraction, test_fraction)
    names = source.classes
    if len(names) < 2:
        raise UserError(f"data: only one class ('{names[0]}'); a classifier needs at least two")
    if any(size is not None for size in (train_per_class, train_fraction, n_train)):
        source = replace(source, val=None)
    test, others = _choose_test(source, test_fraction)
    if n_test is not None:
        test = _shrink(test, n_test, len(names))

    ranked = _rank_rows(source.train.labels, others, len(names), seed, TRAIN_STREAM)
    counts = np.array([len(rows) for rows in ranked])
    budget = _count_budget(counts, names, train_per_class, train_fraction, n_train, 1 + (source.val is None))
    if source.val is not None:
        val = Part(source.val, np.arange(len(source.val)))
        return {"train": Part(source.train, _take_first(ranked, budget)), "val": val, "test": test}
    counts = budget - np.minimum(_count_share(budget, val_fraction), budget - 1)
    held_out = [rows[k:b] for rows, k, b in zip(ranked, counts, budget, strict=True)]
    val = Part(source.train, np.sort(np.concatenate(held_out)))
    return {"train": Part(source.train, _take_first(ranked, counts)), "val": val, "test": test}


def _choose_test(source: Source, fraction: float) -> tuple[Part, np.ndarray]:
    """The test set, and the rows of train that are not in it."""
    rows, names = np.arange(len(source.train)), source.classes
    needed = 1 + (source.val is None) + (source.test is None)
    counts = np.bincount(source.train.labels, minlength=len(names))
    if counts.min() < needed:
        poor = names[int(counts.argmin())]
        raise UserError(
            f"data: class '{poor}' has {counts.min()} training images; {needed} are needed to cut the parts"
        )
    if source.test is not None:
        return Part(source.test, np.arange(len(source.test))), rows
    ranked = _rank_rows(source.train.labels, rows, len(names), TEST_SEED, TEST_STREAM)
    test = _take_first(ranked, np.minimum(_count_share(counts, fraction), counts - (needed - 1)))
    return Part(source.train, test), np.setdiff1d(rows, test)


def _check_settings(
    train_per_class: int | None,
    train_fraction: float | None,
    n_train: int | None,
    n_test: int | None,
    val_fraction: float,
    test_fraction: float,
) -> None:
    budgets = {"train_per_class": train_per_class, "train_fraction": train_fraction, "n_train": n_train}
    given = [f"data.{key}={value}" for key, value in budgets.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: at most one of them can be set; set the others to null")
    for key, number in (("train_per_class", train_per_class), ("n_train", n_train), ("n_test", n_test)):
        if number is not None and number < 1:
            raise UserError(f"data.{key}={number}: must be at least 1")
    if train_fraction is not None and not 0 < train_fraction <= 1:
        raise UserError(f"data.train_fraction={train_fraction}: must be above 0 and at most 1")
    for key, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < fraction < 1:
            raise UserError(f"data.{key}={fraction}: must be between 0 and 1, both excluded")


def _rank_rows(labels: np.ndarray, rows: np.ndarray, classes: int, seed: int, stream: int) -> list[np.ndarray]:
    """The rows of each class in a random order that depends only on the seed and the row.

    It uses the raw output of PCG64 because numpy promises never to change it, unlike `permutation` and similar methods.
    """
    keys = np.random.PCG64([seed, stream]).random_raw(len(labels))
    ordered = rows[np.argsort(keys[rows], kind="stable")]
    return [ordered[labels[ordered] == c] for c in range(classes)]


def _take_first(ranked: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate([rows[:k] for rows, k in zip(ranked, counts, strict=True)]))


def _count_share(counts: np.ndarray, fraction: float) -> np.ndarray:
    """`fraction` of each count, rounded half up, at least 1."""
    return np.maximum(np.floor(counts * fraction + 0.5).astype(int), 1)


def _shrink(part: Part, n: int, classes: int) -> Part:
    if n > len(part):
        raise UserError(f"data.n_test={n}: the test set has {len(part)} images")
    ranked = _rank_rows(part.split.labels, part.rows, classes, TEST_SEED, TEST_STREAM)
    return Part(part.split, _take_first(ranked, _apportion(np.array([len(rows) for rows in ranked]), n, 0)))


def _count_budget(
    counts: np.ndarray,
    names: tuple[str, ...],
    per_class: int | None,
    fraction: float | None,
    n: int | None,
    needed: int,
) -> np.ndarray:
    """How many labelled images to use of each class: at least `needed` (one for training, one for validation)."""
    if per_class is not None:
        if per_class > counts.min():
            poor = names[int(counts.argmin())]
            raise UserError(f"data.train_per_class={per_class}: class '{poor}' has {counts.min()} images to train on")
        if per_class < needed:
            raise UserError(f"data.train_per_class={per_class}: at least {needed} (one of them is for validation)")
        return np.full_like(counts, per_class)
    if n is not None:
        low, high = needed * len(counts), counts.sum()
        if not low <= n <= high:
            raise UserError(
                f"data.n_train={n}: must be {low} … {high} ({len(counts)} classes, {needed} images of each)"
            )
        return _apportion(counts, n, needed)
    return counts if fraction is None else np.maximum(_count_share(counts, fraction), needed)


def _apportion(counts: np.ndarray, n: int, least: int) -> np.ndarray:
    """Distribute n over classes in proportion to their counts, by the largest remainder, each at least `least`."""
    quota = counts * (n / counts.sum())
    shares = np.clip(np.floor(quota).astype(int), np.minimum(least, counts), counts)
    while (short := n - shares.sum()) != 0:
        if short > 0:
            shares[(quota - shares).argmax()] += 1
        else:
            shares[np.where(shares > least, shares - quota, -math.inf).argmax()] -= 1
    return shares
