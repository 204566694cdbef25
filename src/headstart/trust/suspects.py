"""Probable label errors: images whose label a head, fitted on the other images, does not believe.

Features of the pretrained network, a logistic head in five folds, and cleanlab's confident learning on what each head
says of the images that it has not seen (Northcutt et al. 2021, arXiv:1911.00068).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headstart.probe import Logistic
from headstart.tracking import progress
from headstart.trust.folds import FOLDS, Folds

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # values of C; with wrong labels a strong penalty is best


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        row: its place among the images.
        label, suggested: the class that it has, and the most probable one, by number.
        label_probability, suggested_probability: of these classes, by a head that has not seen the image.
    """

    row: int
    label: int
    suggested: int
    label_probability: float
    suggested_probability: float


def find_suspects(features: Tensor, labels: np.ndarray, folds: Folds, seed: int) -> list[Suspect]:
    """Find images whose label is probably wrong, the least credible label first.

    Args:
        features: float32 [n, d].
        labels: int64 [n].
    """
    from cleanlab.filter import find_label_issues

    judged = np.flatnonzero(folds.numbers >= 0)
    present, own = np.unique(labels[judged], return_inverse=True)
    chances = predict_out_of_fold(features[judged], own, folds.numbers[judged], len(present), seed)
    found = find_label_issues(
        own, chances, filter_by="prune_by_noise_rate", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suggested = chances.argmax(1)
    return [
        Suspect(
            row=int(judged[at]),
            label=int(present[own[at]]),
            suggested=int(present[suggested[at]]),
            label_probability=float(chances[at, own[at]]),
            suggested_probability=float(chances[at, suggested[at]]),
        )
        for at in found
    ]


def predict_out_of_fold(x: Tensor, labels: np.ndarray, folds: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Probabilities float64 [n, classes] of each image, by a logistic head fitted on the other folds.

    The penalty is chosen once, on the first fold.
    """
    y, fold_of = torch.from_numpy(labels), torch.from_numpy(folds)
    chances = np.zeros((len(x), classes))
    with progress.task("heads on folds", FOLDS + 1) as work:
        value = _choose_penalty(x, y, fold_of == 0, classes, seed)
        work.done = 1
        for fold in range(FOLDS):
            others, mine = fold_of != fold, fold_of == fold
            head = Logistic(grid=[value]).fit(x[others], y[others], x[:0], y[:0], classes, seed=seed).head
            with torch.inference_mode():
                chances[mine.numpy()] = head(x[mine]).double().softmax(1).numpy()
            work.done += 1
    return chances


def _choose_penalty(x: Tensor, y: Tensor, held: Tensor, classes: int, seed: int) -> float:
    fit = Logistic(grid=PENALTIES).fit(x[~held], y[~held], x[held], y[held], classes, seed=seed)
    return float(fit.chosen["value"])


def count_pairs(suspects: Sequence[Suspect], classes: Sequence[str], most: int = 5) -> list[tuple[str, str, int]]:
    """The most frequent pairs of label and suggestion, with their numbers."""
    from collections import Counter

    pairs = Counter((each.label, each.suggested) for each in suspects)
    return [(classes[label], classes[other], n) for (label, other), n in pairs.most_common(most)]
