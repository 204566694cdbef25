"""Sets cover as often as they say, and thresholds keep their precision, on digits that no head has seen."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from headstart.errors import UserError
from headstart.probe import Logistic
from headstart.trust.conformal import choose_set_threshold, choose_withholding, make_sets, measure_withholding


@cache
def chances() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 [n, 10] and labels of digits, by a head fitted on 150 others."""
    digits = load_digits()
    x, y = torch.from_numpy(digits.data).float(), torch.from_numpy(digits.target).long()
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    train, others = rows[:150], rows[150:]
    head = Logistic(grid=[0.01]).fit(x[train], y[train], x[:0], y[:0], 10).head
    with torch.inference_mode():
        return head(x[others]).softmax(1).numpy(), y[others].numpy()


def halves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(seed).permutation(len(chances()[1]))
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


@pytest.mark.parametrize("level", [0.8, 0.9, 0.97])
def test_sets_cover_as_often_as_is_wanted_over_fifty_splits(level: float) -> None:
    found, labels = chances()
    covered = []
    for seed in range(50):
        val, test = halves(seed)
        sets = make_sets(found[test], choose_set_threshold(found[val], labels[val], level))
        covered.append(sets[np.arange(len(test)), labels[test]].mean())
    assert abs(np.mean(covered) - level) <= 0.015


def test_a_threshold_keeps_its_precision_on_other_images() -> None:
    found, labels = chances()
    kept = []
    for seed in range(50):
        val, test = halves(seed)
        chosen = choose_withholding(found[val], labels[val], 0.98)
        assert chosen.precision >= 0.98
        kept.append(measure_withholding(found[test], labels[test], chosen.threshold))
    assert abs(np.mean([each.precision for each in kept]) - 0.98) <= 0.015
    assert (found.argmax(1) == labels).mean() < 0.96, "without withholding it is less"
    assert 0.5 < np.mean([each.coverage for each in kept]) < 0.99


def test_the_quantile_is_that_of_n_plus_one() -> None:
    found = np.zeros((9, 2))
    found[:, 0] = np.arange(1, 10) / 10
    labels = np.zeros(9, dtype=np.int64)
    assert choose_set_threshold(found, labels, 0.9) == 0.1  # all nine: one in ten may be less
    assert choose_set_threshold(found, labels, 0.5) == 0.5
    with pytest.raises(UserError, match="needs 19 validation images, and the run has 9"):
        choose_set_threshold(found, labels, 0.95)


def test_equal_probabilities_are_answered_together_and_an_unreached_precision_is_said() -> None:
    found = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]])
    labels = np.array([0, 0, 1, 1])
    assert choose_withholding(found, labels, 0.7).threshold == 0.9
    with pytest.raises(UserError, match=r"best is 0\.500"):
        choose_withholding(found[1:3], labels[1:3], 0.7)
