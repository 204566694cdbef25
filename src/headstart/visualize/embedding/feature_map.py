"""Lay features out in the plane by t-SNE, and measure what the plane cannot show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.tracking import progress

if TYPE_CHECKING:
    from torch import Tensor

NEIGHBOURS = 5  # of an image, for both measures
DIMENSIONS = 50  # to which features are reduced before; van der Maaten and Hinton (2008) take 30
PERPLEXITY = 30.0
LEAST = 2 * NEIGHBOURS + 2  # images


@dataclass(frozen=True)
class Quality:
    """How far a map can be trusted.

    Attributes:
        knn_features, knn_map: how often the majority of an image's 5 nearest neighbours is of its class, among the
            features and on the map.
        trustworthiness: of the map (Venna and Kaski 2001), 1 if each point's neighbours are neighbours by features.
    """

    knn_features: float
    knn_map: float
    trustworthiness: float


def fit_map(features: Tensor, seed: int, first: np.ndarray | None = None) -> np.ndarray:
    """Lay features [n, d] out in the plane: float32 [n, 2].

    Args:
        first: a map of the same images [n, 2] from which this one starts, so that both can be compared. The early
            exaggeration, with which t-SNE pulls groups out of a start without any, is left out then: on digits, 0.7 to
            0.8 of the places of classes were kept with it and 0.85 to 1 without, for maps of the same trustworthiness.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values, n = features.numpy(), len(features)
    start: dict[str, Any] = {"init": "pca"} if first is None else {"init": first, "early_exaggeration": 1.0}
    with progress.task("t-SNE"):
        if min(values.shape) > DIMENSIONS:
            values = PCA(DIMENSIONS, random_state=seed).fit_transform(values)
        perplexity = min(PERPLEXITY, (n - 1) / 3)
        found: np.ndarray = TSNE(perplexity=perplexity, random_state=seed, **start).fit_transform(values)
    return found


def measure_quality(features: Tensor, points: np.ndarray, labels: np.ndarray) -> Quality:
    """Measure how separate the classes [n] are by features [n, d] and on their map [n, 2], and how alike both are."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import KNeighborsClassifier

    def score(values: np.ndarray) -> float:
        nearest = KNeighborsClassifier(NEIGHBOURS).fit(values, labels)
        return float((nearest.predict(None) == labels).mean())  # None: no image is its own neighbour

    values = features.numpy()
    trust = float(trustworthiness(values, points, n_neighbors=NEIGHBOURS))
    return Quality(score(values), score(points), trust)
