"""How often the rule shows a difference that there is, and one that there is not, on studies that are drawn.

Command:   python -m headstart.report.stats.simulation
Expected:  about 2 s. With three seeds and 102 test images a true difference of 10 points is shown in 82 to 87 % of the
           studies of two or three rows (by the paired t test over seeds alone in 42 to 64 %), and where there is no
           difference, 3 % show one (t alone: 7 to 8 %). With six rows 65 % (19 %). Where one row's seeds scatter as
           from scratch on 10 images a class, 7 % show a false one (t alone: 6 %). Shares of 1,000 are right to 1.3
           points.

A network is right on an image if a latent number is above a threshold. The number is the sum of what makes the image
easy or hard for every row, what makes it so for one row, and what changes with the seed; the threshold follows from the
row's accuracy, which itself changes with the seed. `IMAGE`, `ROW` and `REST` are these three standard deviations,
chosen so that the parts of a paired difference's variance are those of the project's own studies:

                                     images on which     standard deviation of the difference, by seed (in accuracy),
                                     two rows differ     by image, by both
    demo: finetune, feature_extraction   16 to 19 %      0.000 to 0.010, 0.16 to 0.21, 0.36 to 0.37   (901 test images)
    kernel_size, small: 15 pairs          9 to 16 %      0.016 (root mean square), 0.07 to 0.19, 0.27 to 0.35   (2,000)
    demo: scratch and the other two      45 to 49 %      0 to 0.07 (0.05), 0.12 to 0.24, 0.51 to 0.54
    drawn here, 10 points apart          17 %            0.016, 0.19, 0.35
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headstart.report.stats import rule
from headstart.report.stats.families import holm

IMAGE, ROW, REST = 1.0, 0.45, 0.65
SEEDS, IMAGES, STUDIES = 3, 102, 1000
REFERENCE, GAIN = 0.817, 0.10  # feature_extraction's accuracy in the demo; the difference that is to be shown
# How far a row's accuracy scatters over seeds; the difference of two rows does so by the root of 2 times as much.
DEMO, KERNELS = 0.005, 0.0115  # feature_extraction and finetune in the demo; the rows of kernel_size
SCRATCH = 0.065  # from scratch on 10 images a class, in the demo


class Design(NamedTuple):
    """A study's rows, the reference first: how far each one's accuracy scatters over seeds."""

    name: str
    spreads: tuple[float, ...]


DESIGNS = (
    Design("2 rows", (KERNELS,) * 2),
    Design("3 rows as in the demo", (DEMO,) * 3),
    Design("3 rows", (KERNELS,) * 3),
    Design("6 rows", (KERNELS,) * 6),
    Design("3 rows, one from scratch", (KERNELS, KERNELS, SCRATCH)),
)


class Rates(NamedTuple):
    """Shares of studies: which show the true difference of the second row, and which show any where there is none."""

    power: float
    false: float


def draw(
    rng: np.random.Generator,
    accuracies: Sequence[float],
    spreads: Sequence[float],
    seeds: int,
    images: int,
    studies: int = 1,
) -> np.ndarray:
    """Draw studies: whether each row is right, bool [studies, rows, seeds, images]."""
    from scipy.special import ndtri

    each = (studies, len(accuracies))
    accuracy = np.asarray(accuracies)[:, None] + np.asarray(spreads)[:, None] * rng.normal(size=(*each, seeds))
    threshold = ndtri(np.clip(accuracy, 0.01, 0.99)) * np.sqrt(IMAGE**2 + ROW**2 + REST**2)
    latent = threshold[..., None] + REST * rng.normal(size=(*each, seeds, images))
    latent += IMAGE * rng.normal(size=(studies, 1, 1, images)) + ROW * rng.normal(size=(*each, 1, images))
    return latent > 0


def p_values(right: np.ndarray) -> dict[str, np.ndarray]:
    """Every row against the first, by the rule and by each kind of uncertainty alone: p [studies, rows - 1]."""
    difference = right[:, 1:].astype(np.float64) - right[:, :1]
    seeds, images = difference.shape[-2:]
    gain, variance = difference.mean((-2, -1)), rule.split_variance(difference)
    typical = rule.typical_excess(rule.excess_of_seeds(variance))[:, None]
    return {
        "the rule": rule.decide(gain, variance, seeds, images, typical, rule.LEAST_SPREAD)[0],
        "t over seeds alone": rule.two_sided(gain, variance.over_seeds, seeds - 1),
        "images alone": rule.two_sided(gain, variance.over_images, images - 1),
    }


def simulate(
    design: Design, studies: int = STUDIES, seeds: int = SEEDS, images: int = IMAGES, gain: float = GAIN
) -> dict[str, Rates]:
    """Draw studies in which the second row is `gain` better than all others, and studies in which none is.

    From scratch, a row of the first kind has 33 points less than the reference, as in the demo.
    """
    rng = np.random.default_rng(0)
    level = [REFERENCE] * len(design.spreads)
    better = [REFERENCE - (0.33 if spread == SCRATCH else 0.0) for spread in design.spreads]
    better[1] += gain
    true, none = (p_values(draw(rng, rows, design.spreads, seeds, images, studies)) for rows in (better, level))
    return {
        name: Rates(
            float(np.mean([holm(p)[0] <= rule.LEVEL for p in true[name].tolist()])),
            float(np.mean([min(holm(p)) <= rule.LEVEL for p in none[name].tolist()])),
        )
        for name in true
    }


def main() -> None:
    """Print both rates for each design and test."""
    heads = f"{'study':<26}{'test':<20}{f'{100 * GAIN:.0f} points shown':>16}{'any shown, none there':>24}"
    print(f"{STUDIES} studies each way, {SEEDS} seeds, {IMAGES} test images, Holm over all rows against the first")
    print(heads)
    for design in DESIGNS:
        for name, rates in simulate(design).items():
            print(f"{design.name:<26}{name:<20}{rates.power:>16.1%}{rates.false:>24.1%}")


if __name__ == "__main__":
    main()
