"""The rule that decides whether a difference between two rows is shown: it counts seeds and test images together.

Two rows have `S` seeds in common and are tested on the same `n` images. Their difference on an image in a seed is

    difference[s, i] = gain + seed[s] + image[i] + rest[s, i]

and the mean of all `S n` of them estimates the gain. Another training would draw other seeds, another test set other
images, so its variance has three parts (a two-way layout with both ways random, as when several readers judge the same
X-rays: Dorfman, Berbaum and Metz 1992; Hillis 2007):

    Var(mean) = Var(seed) / S + Var(image) / n + Var(rest) / (S n)
    over_seeds  estimates the first and the third: what the paired t test over seeds divides by
    over_images estimates the second and the third: the variance of the bootstrap that draws images, the mean over seeds
                being what is drawn, as the images are the same in every seed
    both        estimates the third, which is in both

So the variance is `over_images + excess`, where `excess = over_seeds - both` is what seeds add, and never below either
of the two. Three seeds say little of how far seeds scatter, and now and then agree by luck. So `excess` is taken to be
at least that of the family's other pairs (their lower median), and at least that of seeds which scatter by
`LEAST_SPREAD`; this last floor shrinks as seeds are added. Degrees of freedom are Satterthwaite's (1946).

All functions take numbers or arrays, which broadcast.
"""

from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.05
# The standard deviation over seeds of a paired difference, as a share of 1, less what images account for. Measured: the
# root mean square over the 15 pairs of `experiment=kernel_size size=small` (3 seeds, 2,000 test images) is 0.016 and
# 0.010 with two versions; of feature_extraction and finetune in `experiment=demo` (3 seeds, 901 images) it is 0.007.
LEAST_SPREAD = 0.012


class Variance(NamedTuple):
    """The parts of a mean difference's variance, as the module's docstring names them."""

    over_seeds: Any
    over_images: Any
    both: Any


def split_variance(difference: np.ndarray) -> Variance:
    """Estimate the parts from differences [..., seeds, images]; with one seed `over_seeds` and `both` are 0."""
    seeds, images = difference.shape[-2:]
    by_seed, by_image = difference.mean(-1), difference.mean(-2)
    over_images = by_image.var(-1, ddof=1) / images if images > 1 else np.zeros(by_image.shape[:-1])
    if seeds == 1 or images == 1:
        nothing = np.zeros(by_image.shape[:-1])
        return Variance(by_seed.var(-1, ddof=1) / seeds if seeds > 1 else nothing, over_images, nothing)
    # sums of squares of a two-way layout; the rest is what rows and columns leave of the total
    total = difference.var((-2, -1)) * seeds * images
    rest = total - images * seeds * by_seed.var(-1) - seeds * images * by_image.var(-1)
    both = np.maximum(rest, 0) / ((seeds - 1) * (images - 1)) / (seeds * images)
    return Variance(by_seed.var(-1, ddof=1) / seeds, over_images, both)


def excess_of_seeds(variance: Variance) -> Any:
    """What seeds add to the variance over images, at least 0."""
    over_seeds, over_images, both = variance
    return np.maximum(np.maximum(over_seeds - both, over_seeds - over_images), 0)


def typical_excess(excesses: Any) -> Any:
    """The lower median over a family's pairs [..., pairs]: of two the smaller one."""
    found = np.sort(np.asarray(excesses, dtype=float), axis=-1)
    return found[..., (found.shape[-1] - 1) // 2]


def least_excess(seeds: Any, spread: float = LEAST_SPREAD) -> Any:
    """The excess below which so many seeds are not believed: that of `spread` with 3 seeds, half of it with 5."""
    seeds = np.asarray(seeds)
    return spread**2 * 2 / (np.maximum(seeds - 1, 1) * seeds)


def combine(excess: Any, over_images: Any, seeds: Any, images: Any) -> tuple[Any, Any]:
    """The variance of the mean difference and its degrees of freedom (Satterthwaite)."""
    variance = over_images + excess
    spread = excess**2 / np.maximum(np.asarray(seeds) - 1, 1) + over_images**2 / np.maximum(np.asarray(images) - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(spread > 0, variance**2 / spread, np.inf)
    return variance, freedom


def two_sided(gain: Any, variance: Any, freedom: Any) -> Any:
    """The two-sided p value of Student's t; without any variance 1 for no gain, and 0 for one."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.asarray(variance) > 0, np.abs(gain) / np.sqrt(variance), np.where(np.abs(gain) > 0, np.inf, 0))
    return 2 * stdtr(np.minimum(freedom, 1e9), -t)


def half_width(variance: Any, freedom: Any, level: float = LEVEL) -> Any:
    """Half of the interval that holds the gain in 95 of 100 repeats."""
    from scipy.special import stdtrit

    return stdtrit(np.minimum(freedom, 1e9), 1 - level / 2) * np.sqrt(variance)


def decide(gain: Any, variance: Variance, seeds: int, images: int, typical: Any, spread: float) -> tuple[Any, Any]:
    """The p value of the rule and half the 95 % interval, for two seeds or more tested on the same images.

    Args:
        typical: the excess of the family's pairs (`typical_excess`), 0 to look at the pair alone.
        spread: `LEAST_SPREAD`, or 0 for a metric that is no share of 1.
    """
    excess = np.maximum(np.maximum(excess_of_seeds(variance), typical), least_excess(seeds, spread))
    total, freedom = combine(excess, variance.over_images, seeds, images)
    return two_sided(gain, total, freedom), half_width(total, freedom)
