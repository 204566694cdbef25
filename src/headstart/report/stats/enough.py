"""How many seeds, or test images, would settle a difference that is not shown yet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.report.stats.paired_test import NO_SPREAD, Sample
from headstart.report.stats.rule import LEVEL, combine, excess_of_seeds, least_excess

POWER = 0.8
MOST_SEEDS, MANY_SEEDS, LEAST_SEEDS = 50, 10, 3
LARGER = (1.5, 2, 3, 4, 5, 7, 10, 15, 20)  # test sets, by how much


@dataclass(frozen=True)
class Enough:
    """What would show the observed difference in 4 of 5 repeats, if it is the true one.

    So many `seeds`, and, where `MOST_SEEDS` are not enough on the test images that there are, so many test `images`;
    both None where 10 seeds and 20 times the test images are not enough either.
    """

    seeds: int | None
    images: int | None = None


def seeds_that_settle(sample: Sample, tests: int = 1, typical: float = 0.0) -> Enough | None:
    """How many seeds would show a difference; None where there is none to show, or its spread is not known.

    Args:
        tests: the size of the family: the difference has to pass Holm's correction as its smallest p value.
        typical: the excess of seeds of the family, as in the test.
    """
    gain = abs(sample.gain)
    if not sample.repeats or gain < NO_SPREAD or (sample.scores is None and not sample.variance().over_seeds):
        return None
    for seeds in range(max(LEAST_SEEDS, sample.repeats + 1), MOST_SEEDS + 1):
        if gain >= _detectable(sample, seeds, tests, typical):
            return Enough(seeds)
    if sample.scores is not None and not sample.folds:
        many = max(sample.repeats, MANY_SEEDS)
        for times in LARGER:
            if gain >= _detectable(sample, many, tests, typical, times):
                return Enough(many, math.ceil(times * sample.n_images))
    return Enough(None)


def _detectable(sample: Sample, seeds: int, tests: int, typical: float, times: float = 1.0) -> float:
    """The difference that so many seeds, and `times` the test images, show with `POWER`."""
    from scipy.special import stdtrit

    parts, had = sample.variance(), max(sample.repeats, 1)
    if sample.scores is None or sample.folds:
        variance, freedom = parts.over_seeds * had / seeds, float(seeds - 1)
    else:
        excess = max(float(excess_of_seeds(parts)), typical) * had / seeds
        if sample.repeats == 1:  # one seed says nothing of how far seeds scatter
            excess = sample.least_spread**2 / seeds
        of_images = max(parts.over_images - parts.both, 0.0) + parts.both * had / seeds
        excess = max(excess, float(least_excess(seeds, sample.least_spread)))
        found = combine(excess, of_images / times, seeds, sample.n_images * times)
        variance, freedom = float(found[0]), float(min(found[1], 1e9))
    passes = stdtrit(freedom, 1 - LEVEL / tests / 2) + stdtrit(freedom, POWER)
    return float(passes * math.sqrt(variance))
