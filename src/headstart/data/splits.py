"""Split a source into train, validation and test: stratified, seeded, and the same on every platform.

Into which part an image falls depends on its path (or its content, if it is in memory) and the seed, not on its place
among the others: an image that is added moves at most one other of its class into each part, and one out of it (see
`headstart.data.ranks`). What the settings cost in stability, for one added image:

====================================  ==================================================================================
none, `train_fraction`                at most one other image of its class changes at each border between two parts
`train_per_class`                     the same; mostly none, as few images of the class are used
`n_train`, `n_test`                   they are distributed over the classes: one image of each class may change
`folds`                               one of its class at each border between two folds
`group`                               whole groups change, about 1 in 100: see `headstart.data.balance`
====================================  ==================================================================================
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from headstart.config.ranges import find_budget_problem, find_fold_problem, find_range_problem
from headstart.config.words import count
from headstart.data.cut import TEST_SEED, TEST_STREAM, TRAIN_STREAM, Cut
from headstart.data.filenames import list_names
from headstart.data.groups import Grouped, raise_if_shared
from headstart.data.ranks import apportion, count_share, order_by_class, rank_keys, take_first
from headstart.data.source import Source, Split
from headstart.errors import UserError

log = logging.getLogger(__name__)


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
    group: str | None = None,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> dict[str, Part]:
    """Split a source into the parts train, val and test.

    At most one of `train_per_class`, `train_fraction` and `n_train` sets the number of labelled images, which is train
    and validation together: `val_fraction` of each class, at least one image, is for validation. The source's own
    validation set is used, all of it, only if none of these three is set. If the source has no test set,
    `test_fraction` of each class is taken from train first, with a fixed seed, or with `folds` the part number `fold`
    of as many; `n_test` reduces the test set with that seed too. The images of a class are ranked once per seed, so
    that the training images of a smaller `train_per_class` are also those of a larger one. With `group` (see
    `headstart.data.groups`) no group stands in two parts.
    """
    budgets = {"train_per_class": train_per_class, "train_fraction": train_fraction, "n_train": n_train}
    shares = {"n_test": n_test, "val_fraction": val_fraction, "test_fraction": test_fraction}
    _check_settings(budgets | shares, folds, fold)
    _check_source(source, folds)
    names = source.classes
    if group is not None:
        raise_if_shared(source, group)
    source = _drop_val(source, budgets)
    grouped = None if group is None else Grouped.of(source.train, group)
    cut = Cut(source, grouped)
    taken = cut.choose_test(test_fraction, folds, fold or 0)
    left = np.setdiff1d(np.arange(len(source.train)), taken)
    test = Part(source.train, taken) if source.test is None else Part(source.test, np.arange(len(source.test)))
    test = test if n_test is None else _shrink(test, n_test, len(names))

    def count_budget(counts: np.ndarray) -> np.ndarray:
        return _count_budget(counts, names, train_per_class, train_fraction, n_train, 1 + (source.val is None))

    if source.val is not None:
        ordered = cut.order(left, seed, TRAIN_STREAM)
        budget = count_budget(np.array([len(rows) for rows in ordered]))
        val = Part(source.val, np.arange(len(source.val)))
        return {"train": Part(source.train, take_first(ordered, budget)), "val": val, "test": test}
    train, held_out = cut.choose_val(left, val_fraction, seed, count_budget)
    parts = {"train": Part(source.train, train), "val": Part(source.train, held_out), "test": test}
    if grouped is not None:
        _log_groups(grouped, parts, names)
    return parts


def _drop_val(source: Source, budgets: Mapping[str, float | None]) -> Source:
    """Leave out the source's own validation set, and say so, if a budget is set: validation is part of the budget."""
    given = [f"data.{key}={value}" for key, value in budgets.items() if value is not None]
    if not given or source.val is None:
        return source
    log.info("  %s: validation images are part of this budget; the data's own %d are not used", *given, len(source.val))
    return replace(source, val=None)


def _log_groups(grouped: Grouped, parts: Mapping[str, Part], classes: Sequence[str]) -> None:
    """Say how many groups each part has, and which classes the groups did not allow to stand in all of them."""
    own = {name: part for name, part in parts.items() if part.split is parts["train"].split}
    counts = ", ".join(f"{grouped.count(part.rows)} in {name}" for name, part in own.items())
    log.info("  data.group=%s: %d groups: %s; none stands in two parts", grouped.setting, len(grouped.names), counts)
    for name, part in own.items():
        by_class = np.bincount(part.labels, minlength=len(classes)).tolist()
        lost = [class_ for class_, count in zip(classes, by_class, strict=True) if not count]
        if lost:
            log.warning("  the groups leave these classes without an image in %s: %s", name, list_names(lost))


def _check_source(source: Source, folds: int | None) -> None:
    if len(source.classes) < 2:
        raise UserError(f"data: only one class ('{source.classes[0]}'); a classifier needs at least two")
    if folds is not None and source.test is not None:
        raise UserError(
            f"data.folds={folds}: the data have a test set of their own, on which every run is tested; leave "
            "data.folds and data.fold out, or give all images as one set, without parts"
        )


def _check_settings(settings: Mapping[str, float | None], folds: int | None, fold: int | None) -> None:
    """Refuse what the check of a config refuses, too: images are counted before it (`headstart.preflight.epochs`)."""
    problems = [find_range_problem(f"data.{key}", value) for key, value in settings.items()]
    for problem in (find_budget_problem(settings), find_fold_problem(folds, fold), *problems):
        if problem is not None:
            raise UserError(problem)


def _shrink(part: Part, n: int, classes: int) -> Part:
    if n > len(part):
        raise UserError(f"data.n_test={n}: the test set has {count(len(part), 'image')}")
    ranks = rank_keys(part.split.stable_keys(), TEST_SEED, TEST_STREAM)
    ordered = order_by_class(ranks, part.split.labels, part.rows, classes)
    return Part(part.split, take_first(ordered, apportion(np.array([len(rows) for rows in ordered]), n, 0)))


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
        return np.full_like(counts, per_class)
    if n is not None:
        low, high = needed * len(counts), counts.sum()
        if not low <= n <= high:
            raise UserError(
                f"data.n_train={n}: must be {low} … {high} ({len(counts)} classes, {needed} images of each)"
            )
        return apportion(counts, n, needed)
    return counts if fraction is None else np.maximum(count_share(counts, fraction), needed)
