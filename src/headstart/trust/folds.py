"""Folds in which each image is judged by a head that has not seen it, nor an image of its group, nor a copy of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.errors import UserError

FOLDS = 5


@dataclass(frozen=True)
class Folds:
    """The fold of each image.

    Attributes:
        numbers: int64 [n]; -1: the image is not judged.
        small: classes with too few images (or groups) for the folds, with their numbers of these.
    """

    numbers: np.ndarray
    small: dict[str, int]


def make_folds(labels: np.ndarray, groups: Sequence[str], classes: Sequence[str], seed: int) -> Folds:
    """Divide images into stratified folds; those of a group are all in one.

    Args:
        labels: int64 [n].
        groups: of each image, such as its patient, or the digest of its content.

    Raises:
        UserError: fewer than two classes have an image, or a group, for each fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names, groups_of = np.unique(np.array(groups, dtype=object), return_inverse=True)
    pairs = np.unique(np.stack([groups_of, labels]), axis=1)
    counts = np.bincount(pairs[1], minlength=len(classes))
    judged = np.flatnonzero(counts[labels] >= FOLDS)
    small = {classes[at]: int(counts[at]) for at in np.flatnonzero(counts < FOLDS).tolist() if counts[at]}
    if len(np.unique(labels[judged])) < 2:
        raise UserError(
            f"--suspects: fewer than two classes have {FOLDS} images each (of {FOLDS} groups, if data.group is given), "
            "and so many are needed to judge an image by others"
        )
    alone = len(names) == len(labels)
    split = (StratifiedKFold if alone else StratifiedGroupKFold)(FOLDS, shuffle=True, random_state=seed)
    numbers = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of groups that cannot be divided evenly
        for fold, (_, rows) in enumerate(split.split(judged, labels[judged], groups_of[judged])):
            numbers[judged[rows]] = fold
    return Folds(_leave_out_untaught(numbers, labels), small)


def _leave_out_untaught(numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Set the images of a class that stands in a single fold to -1: no head could learn it for them."""
    numbers = numbers.copy()
    for label in np.unique(labels[numbers >= 0]):
        rows = np.flatnonzero((labels == label) & (numbers >= 0))
        if len(np.unique(numbers[rows])) == 1:
            numbers[rows] = -1
    return numbers
