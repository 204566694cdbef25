"""One paired comparison: the test over seeds, the test over images, and the one that decides."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from headstart.report.stats.rule import (
    LEAST_SPREAD,
    Variance,
    combine,
    decide,
    excess_of_seeds,
    half_width,
    split_variance,
    two_sided,
)

NO_SPREAD = 1e-12  # scores are shares of whole images: what lies below is rounding

DRAWS = 4000  # of a bootstrap
TOGETHER, OVER_SEEDS, OVER_IMAGES, ONE_SEED = "seeds and images", "seeds", "images", "images, one seed"


class Bootstrap(NamedTuple):
    """A paired bootstrap of images: its two-sided p value and the 95 % interval of the mean difference."""

    p: float
    low: float
    high: float


def bootstrap(differences: np.ndarray, draws: int = DRAWS) -> Bootstrap:
    """Draw test images with replacement; always the same draws, so that a report can be made again.

    Args:
        differences: [n], each image's difference as the mean over seeds: the images are the same in every seed, so
            that an image is drawn with all of its seeds.
    """
    n = len(differences)
    # few values occur (2 seeds + 1 for right and wrong), so a draw of n images is a draw of how often each occurs
    values, counts = np.unique(differences.round(12), return_counts=True)
    drawn = np.random.default_rng(0).multinomial(n, counts / n, size=draws) @ values / n
    low, high = np.quantile(drawn, [0.025, 0.975])
    least = min((drawn <= 1e-12).sum(), (drawn >= -1e-12).sum())
    return Bootstrap(float(min(1.0, 2 * (least + 1) / (draws + 1))), float(low), float(high))


def mcnemar(alone_one: int, alone_other: int) -> float:
    """The exact McNemar test (1947): two-sided p of how many images only the one and only the other got right."""
    from scipy.special import bdtr

    changed = alone_one + alone_other
    return float(min(1.0, 2 * bdtr(min(alone_one, alone_other), changed, 0.5))) if changed else 1.0


@dataclass(frozen=True)
class PairedTest:
    """A tested difference: `p` decides, and `basis` says on what; `half` is half of the 95 % interval by the same rule.

    `p_seeds` is the paired t test over seeds, None for one seed or without spread; `images` the paired bootstrap, None
    where no score of single images is known.
    """

    p: float
    half: float
    basis: str
    p_seeds: float | None = None
    images: Bootstrap | None = None

    def turned(self) -> Self:
        """The same with the rows exchanged."""
        drawn = self.images
        return replace(self, images=None if drawn is None else Bootstrap(drawn.p, -drawn.high, -drawn.low))


@dataclass(frozen=True)
class Sample:
    """What two rows measured in their common repeats.

    Attributes:
        differences: [repeats], the difference of the metric in each seed (and fold).
        scores: [seeds, images], the difference of the scores of single images (right less right: -1, 0 or 1), whose
            mean over images is that of the metric; None where the metric is no such mean, or none were kept.
        folds: whether the repeats are folds, each with test images of its own.
        least_spread: see `headstart.report.stats.rule`; 0 for a metric that is no share of 1.
    """

    differences: np.ndarray
    scores: np.ndarray | None = None
    folds: bool = False
    least_spread: float = LEAST_SPREAD

    @property
    def gain(self) -> float:
        """The mean difference."""
        return float(self.differences.mean()) if len(self.differences) else 0.0

    @property
    def repeats(self) -> int:
        """How many repeats both rows have."""
        return len(self.differences)

    @property
    def n_images(self) -> int:
        """How many test images, 0 if not known."""
        return 0 if self.scores is None else self.scores.shape[-1]

    def turned(self) -> Self:
        """The same with the rows exchanged."""
        return replace(self, differences=-self.differences, scores=None if self.scores is None else -self.scores)

    def variance(self) -> Variance:
        """The parts of the gain's variance; 0 over images where no single images are known."""
        parts = Variance(0.0, 0.0, 0.0) if self.scores is None else Variance(*map(float, split_variance(self.scores)))
        over_seeds = float(self.differences.var(ddof=1)) / self.repeats if self.repeats > 1 else 0.0
        return parts._replace(over_seeds=over_seeds if over_seeds > NO_SPREAD**2 else 0.0)

    def excess(self) -> float | None:
        """What seeds add to the variance; None where seeds and images are not told apart."""
        if self.scores is None or self.folds or self.repeats < 2:
            return None
        return float(excess_of_seeds(self.variance()))


def t_test(sample: Sample) -> tuple[float, float] | None:
    """The paired t test over seeds: its p value and half the 95 % interval; None for one, or without spread."""
    over_seeds = sample.variance().over_seeds
    if sample.repeats < 2 or not over_seeds:
        return None
    freedom = sample.repeats - 1
    return float(two_sided(sample.gain, over_seeds, freedom)), float(half_width(over_seeds, freedom))


def compute_test(sample: Sample, typical: float = 0.0) -> PairedTest | None:
    """Test one difference; None where nothing can be tested: no common repeat, or nothing that varies.

    * Two seeds or more on the same images: seeds and images together (`headstart.report.stats.rule`).
    * One seed: images alone, by McNemar's exact test for right and wrong, else by Student's t.
    * Folds, or no scores of single images: the paired t test over repeats, in which each repeat's images are. Where
      every fold has the same difference, images alone.

    Args:
        typical: the excess of seeds of the family that the pair belongs to.
    """
    if not sample.repeats:
        return None
    variance, seeds = sample.variance(), t_test(sample)
    p_seeds = None if seeds is None else seeds[0]
    if sample.scores is None:
        return None if seeds is None else PairedTest(*seeds, OVER_SEEDS, p_seeds)
    drawn = bootstrap(sample.scores.mean(0))
    if sample.folds and sample.repeats > 1 and seeds is not None:
        return PairedTest(*seeds, OVER_SEEDS, p_seeds, drawn)
    if sample.folds or sample.repeats == 1:
        total, freedom = combine(0.0, variance.over_images, 1, sample.n_images)
        whole = np.isin(sample.scores, (-1, 0, 1)).all() and len(sample.scores) == 1
        alone = int((sample.scores > 0).sum()), int((sample.scores < 0).sum())
        p = mcnemar(*alone) if whole else float(two_sided(sample.gain, total, freedom))
        basis = ONE_SEED if sample.repeats == 1 else OVER_IMAGES
        return PairedTest(p, float(half_width(total, freedom)), basis, p_seeds, drawn)
    p, half = decide(sample.gain, variance, sample.repeats, sample.n_images, typical, sample.least_spread)
    return PairedTest(float(p), float(half), TOGETHER if p_seeds is not None else OVER_IMAGES, p_seeds, drawn)
