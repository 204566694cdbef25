"""t-SNE and its measures, on real digits' pixels."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from headstart.visualize.embedding.feature_map import fit_map, measure_quality


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images[:300]).float(), labels[:300]


@pytest.fixture(scope="module")
def first(digits: tuple[torch.Tensor, np.ndarray]) -> np.ndarray:
    return fit_map(digits[0], seed=0)


def centre(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The middles of the classes, [10, 2], around 0 and of length 1."""
    middles = np.stack([points[labels == label].mean(0) for label in range(10)])
    middles -= middles.mean(0)
    return middles / np.linalg.norm(middles)


def test_the_same_seed_gives_the_same_map(digits: tuple[torch.Tensor, np.ndarray], first: np.ndarray) -> None:
    assert np.array_equal(fit_map(digits[0], seed=0), first)


def test_a_map_that_starts_from_another_can_be_compared(
    digits: tuple[torch.Tensor, np.ndarray], first: np.ndarray
) -> None:
    """Of features that are turned and a little blurred: classes stay where they were, which two maps apart do not."""
    features, labels = digits
    turn = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(1))).Q
    changed = features @ turn + torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    after = fit_map(changed, seed=0, first=first)
    kept = (centre(after, labels) * centre(first, labels)).sum()
    assert kept > 0.9
    apart = fit_map(changed[:, :40], seed=1)
    assert abs((centre(apart, labels) * centre(first, labels)).sum()) < kept


def test_quality_is_high_for_a_good_map_and_low_for_none(
    digits: tuple[torch.Tensor, np.ndarray], first: np.ndarray
) -> None:
    features, labels = digits
    good = measure_quality(features, first, labels)
    assert min(good.knn_features, good.knn_map, good.trustworthiness) > 0.9
    noise = measure_quality(features, np.random.default_rng(0).normal(size=(300, 2)), labels)
    assert noise.knn_features == good.knn_features
    assert noise.knn_map < 0.3
    assert noise.trustworthiness < 0.7


def test_no_image_is_its_own_neighbour() -> None:
    features = torch.arange(12.0)[:, None].repeat(1, 2)
    labels = np.arange(12) % 2  # the nearest on both sides are of the other class
    assert measure_quality(features, features.numpy(), labels).knn_features == pytest.approx(0, abs=0.2)
