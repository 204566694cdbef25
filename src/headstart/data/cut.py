"""Cut the training images of a source into parts, image by image or group by group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.data.groups import Grouped
from headstart.data.ranks import count_share, order_by_class, rank_keys, take_first, take_fold
from headstart.data.source import Source
from headstart.errors import UserError

TRAIN_STREAM, TEST_STREAM = 0, 1  # so that the test set and the training images are drawn independently
TEST_SEED = 0  # fixed: the test set is the same for every split seed


class Cut:
    """Cuts the training images of a source into parts, image by image or group by group."""

    def __init__(self, source: Source, grouped: Grouped | None) -> None:
        self.source, self.grouped = source, grouped
        self.split, self.names = source.train, source.classes
        self.keys = self.split.stable_keys()

    def order(self, rows: np.ndarray, seed: int, stream: int) -> list[np.ndarray]:
        """These rows, class by class, in the order of their ranks."""
        return order_by_class(rank_keys(self.keys, seed, stream), self.split.labels, rows, len(self.names))

    def choose_test(self, fraction: float, folds: int | None, fold: int) -> np.ndarray:
        """The rows that are the test set; none if the source has one."""
        source, rows = self.source, np.arange(len(self.split))
        kept = 1 + (source.val is None)  # images, or groups, of each class that train and validation need
        needed = max(kept + (source.test is None), folds or 0)
        if folds == kept == 2:
            needed = 4  # of three, one fold would leave a single one
        purpose = f"for data.folds={folds}" if folds else "to cut the parts"
        counts = np.bincount(self.split.labels, minlength=len(self.names))
        if counts.min() < needed:
            poor = self.names[int(counts.argmin())]
            raise UserError(f"data: class '{poor}' has {counts.min()} training images; {needed} are needed {purpose}")
        if self.grouped is not None:
            self.grouped.raise_if_few(rows, self.names, needed, purpose)
        if source.test is not None:
            return rows[:0]
        if self.grouped is not None and folds:
            test = self.grouped.take_fold(rows, folds, fold, TEST_SEED, TEST_STREAM)
        elif self.grouped is not None:
            test = self.grouped.take_share(rows, fraction, kept, TEST_SEED, TEST_STREAM)
        elif folds:
            test = take_fold(self.order(rows, TEST_SEED, TEST_STREAM), folds, fold)
        else:
            share = np.minimum(count_share(counts, fraction), counts - kept)
            test = take_first(self.order(rows, TEST_SEED, TEST_STREAM), share)
        return test

    def choose_val(
        self, rows: np.ndarray, fraction: float, seed: int, count_budget: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows for training and those for validation.

        Groups are given to either side before images are counted: where a side has too few images of a class for its
        share of the budget, the other side makes up for them.
        """
        budget = count_budget(np.bincount(self.split.labels[rows], minlength=len(self.names)))
        val = np.minimum(count_share(budget, fraction), budget - 1)
        if self.grouped is None:
            ordered = self.order(rows, seed, TRAIN_STREAM)
            held_out = [rows[b - v : b] for rows, v, b in zip(ordered, val, budget, strict=True)]
            return take_first(ordered, budget - val), np.sort(np.concatenate(held_out))
        held_rows = self.grouped.take_share(rows, fraction, 1, seed, TRAIN_STREAM)
        held, ordered = (self.order(some, seed, TRAIN_STREAM) for some in (held_rows, np.setdiff1d(rows, held_rows)))
        most_val, most_train = (np.array([len(some) for some in side]) for side in (held, ordered))
        val = np.clip(val, budget - most_train, most_val)
        return take_first(ordered, budget - val), take_first(held, val)
