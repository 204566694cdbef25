"""How many seeds, or images, would settle a difference."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.report.stats.paired_test import Sample, compute_test
from headstart.report.stats.settle import Enough, seeds_that_settle
from headstart.report.stats.simulation import draw


def test_so_many_seeds_show_the_difference_in_four_of_five_repeats() -> None:
    rng = np.random.default_rng(1)
    right = draw(rng, [0.8, 0.83], [0.01, 0.01], seeds=200, images=600)[0].astype(float)
    scores = right[1] - right[0]  # 200 seeds, of which every few are a study
    three = scores[:3]
    true = three.mean(1) - three.mean() + scores.mean()  # the spread of three seeds, the difference of all
    found = seeds_that_settle(Sample(true, three))
    assert found is not None
    assert found.seeds is not None
    studies = [scores[start : start + found.seeds] for start in range(0, 200 - found.seeds, found.seeds)]
    shown = [test.p <= 0.05 for study in studies if (test := compute_test(Sample(study.mean(1), study)))]
    assert 0.7 < np.mean(shown) < 0.97
    more = seeds_that_settle(Sample(true, three), tests=20)
    assert more is not None
    assert more.seeds is None or more.seeds > found.seeds


def test_where_images_are_too_few_more_of_them_are_named() -> None:
    scores = np.tile(np.r_[np.ones(4), -np.ones(2), np.zeros(94)], (3, 1))  # the same images in every seed
    scores[0, 10] = 1
    found = seeds_that_settle(Sample(scores.mean(1), scores))
    assert found is not None
    assert found.seeds == 10
    assert found.images is not None
    assert 150 < found.images <= 2000


@pytest.mark.parametrize("differences", [[], [0.0, 0.0], [0.05]])
def test_nothing_to_settle(differences: list[float]) -> None:
    assert seeds_that_settle(Sample(np.array(differences))) is None


def test_one_seed_takes_three_at_least() -> None:
    scores = np.r_[np.ones(40), np.zeros(60)][None]
    assert seeds_that_settle(Sample(scores.mean(1), scores)) == Enough(3)
