"""Two rows of a task, paired by seed and tested, and the family of such pairs that the correction is over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Self

import numpy as np

from headstart.config.effect import NO_EFFECT
from headstart.report.stats.paired_test import NO_SPREAD, PairedTest, Sample, compute_test
from headstart.report.stats.rule import LEAST_SPREAD, LEVEL, typical_excess
from headstart.report.study.folds import name_repeats, pool_answers
from headstart.report.study.groups import Group, Stat, stat
from headstart.report.study.metric import Metric
from headstart.report.study.read import Run
from headstart.report.study.repeat import Repeat


@dataclass(frozen=True)
class Pair:
    """Two rows of one task over the seeds that both have, tested on the same images; differences are `one - other`.

    `difference` is of the metric over seeds, None without a common seed; `test` says what is shown by it
    (`headstart.report.stats.rule`), None where nothing can be tested; `adjusted` is its p value after Holm over the
    family, None for a pair outside of it. `alone` counts images, pooled over the seeds, that only `one` and only
    `other` got right, of `images`.
    """

    one: Group
    other: Group
    runs: list[tuple[Run, Run]]
    difference: Stat | None
    sample: Sample | None = None
    test: PairedTest | None = None
    adjusted: float | None = None
    alone: tuple[int, int] | None = None
    images: int = 0

    @property
    def repeats(self) -> list[Repeat]:
        """The common seeds; with cross-validation, seeds and folds."""
        return [run.repeat for run, _ in self.runs]

    @property
    def p(self) -> float | None:
        """The two-sided p value that decides, by itself."""
        return None if self.test is None else self.test.p

    @property
    def half(self) -> float | None:
        """Half of the difference's 95 % interval, by the same rule."""
        return None if self.test is None else self.test.half

    @property
    def shown(self) -> bool:
        """Whether the test shows a difference, at 5 % over all comparisons of the family."""
        return self.adjusted is not None and self.adjusted <= LEVEL

    @property
    def planned(self) -> bool:
        """Whether the pair belongs to the family: which pairs are tested is said before results are seen."""
        return self.adjusted is not None

    @property
    def equal(self) -> bool:
        """Whether both rows have the same score in each of their common seeds."""
        return bool(self.runs) and all(abs(a.score - b.score) < NO_SPREAD for a, b in self.runs)

    @property
    def gain(self) -> float:
        """By how much the first row's mean is better: over the common seeds, or of all seeds where there are none."""
        if self.difference is None:
            return self.one.merit - self.other.merit
        return self.metric.merit(self.difference.mean)

    @property
    def metric(self) -> Metric:
        """What is compared."""
        return self.one.metric

    @property
    def untested(self) -> str:
        """Why there is no test, in words; empty where there is one."""
        if self.test is not None:
            return ""
        noun, why = self.noun, "no readable predictions"
        if self.alone is not None:
            why = f"and {self.metric.title} is no mean over images"
        if len(self.runs) < 2:
            both = {run.repeat for run in self.one.runs} & {run.repeat for run in self.other.runs}
            if len(both) > len(self.runs):
                return f"{len(self.runs)} common {noun}s on the same test images" if self.runs else "other test images"
            return f"one common {noun}, {why}" if self.runs else f"no common {noun}"
        return f"the same difference in every {noun}, {why}"

    @property
    def noun(self) -> str:
        """What the rows are paired over: seed, fold, or repeat."""
        return name_repeats([*self.one.runs, *self.other.runs])

    def turned(self) -> Self:
        """The same pair with its rows exchanged."""
        found, test = self.difference, self.test
        difference = None if found is None else Stat(found.n, -found.mean, found.std, found.interval)
        alone = None if self.alone is None else (self.alone[1], self.alone[0])
        return replace(
            self,
            one=self.other,
            other=self.one,
            runs=[(b, a) for a, b in self.runs],
            difference=difference,
            sample=None if self.sample is None else self.sample.turned(),
            test=None if test is None else test.turned(),
            alone=alone,
        )


MOST_TYPICAL = 1000  # pairs that say what is typical; of more, every so many is looked at


@dataclass(frozen=True)
class Family:
    """A task's rows, best first, and the pairs that are tested, with Holm's correction over them.

    Each row is tested against `reference`, as `row - reference`; without one, all pairs are, the better row first.
    `excess` is what seeds add to the variance of a typical one of `pairs` (`headstart.report.stats.rule`).
    """

    task: str
    rows: list[Group]
    pairs: list[Pair]
    reference: Group | None = None
    excess: float = 0.0
    _others: dict[tuple[int, int], Pair] = field(default_factory=dict, repr=False, compare=False)

    @property
    def tested(self) -> list[Pair]:
        """The pairs with a test: the family of the correction."""
        return [pair for pair in self.pairs if pair.test is not None]

    def between(self, one: Group, other: Group) -> Pair:
        """The pair of two of its rows, as `one - other`; one outside of the family is tested by itself."""
        for pair in self.pairs:
            if pair.one is one and pair.other is other:
                return pair
            if pair.one is other and pair.other is one:
                return pair.turned()
        if not all(any(row is side for row in self.rows) for side in (one, other)):
            raise LookupError(f"{one.strategy} and {other.strategy} are not two rows of {self.task}")
        place = id(one), id(other)
        if place not in self._others:
            self._others[place] = add_test(make_pair(one, other), self._excess_without_reference)
        return self._others[place]

    @cached_property
    def _excess_without_reference(self) -> float:
        """The excess of a typical pair without the reference: what its runs scatter is no matter of other pairs."""
        rows = [row for row in self.rows if row is not self.reference]
        pairs = list(combinations(rows, 2))
        return find_excess(make_pair(*pair) for pair in pairs[:: max(1, len(pairs) // MOST_TYPICAL)])


def find_excess(pairs: Iterable[Pair]) -> float:
    """The excess of seeds of a typical one of these pairs; 0 if none of them says it."""
    known = [excess for pair in pairs if pair.sample is not None and (excess := pair.sample.excess()) is not None]
    return float(typical_excess(known)) if known else 0.0


def make_pair(one: Group, other: Group) -> Pair:
    """Pair two rows by their common seeds; nothing is tested yet."""
    runs = common_runs(one, other)
    if not runs:
        return Pair(one, other, runs, None)
    differences = [a.score - b.score for a, b in runs]
    right, metric = right_in_both(runs), one.metric
    change = None if right is None else right[0].astype(np.float64) - right[1]
    sample = Sample(
        np.array(differences),
        None if change is None or not metric.over_images else change * _weigh_images(runs, metric),
        folds=any(run.repeat.fold >= 0 for run, _ in runs),
        least_spread=LEAST_SPREAD if metric.share else 0.0,
    )
    pair = Pair(one, other, runs, stat(differences), sample)
    if change is None:
        return pair
    return replace(pair, alone=(int((change > 0).sum()), int((change < 0).sum())), images=change.size)


def _weigh_images(runs: Sequence[tuple[Run, Run]], metric: Metric) -> np.ndarray | float:
    """What an image counts, so that the mean over images is the metric: in balanced accuracy, each class the same."""
    answers = pool_answers([run for run, _ in runs])
    if metric.name != "balanced_accuracy" or not answers:
        return 1.0
    labels = answers[0].labels
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(counts) * counts[place])


def add_test(pair: Pair, excess: float) -> Pair:
    """Test a pair by itself, with what seeds add in the family's typical pair."""
    return pair if pair.sample is None else replace(pair, test=compute_test(pair.sample, excess))


def same_test(one: Run, other: Run) -> bool:
    """Whether two runs were tested on the same images.

    They were if their data's digests agree: it covers the names of the classes and every image and label. Where
    the digests differ because other training images were asked for, names and labels in predictions.csv decide;
    where they differ although the same was asked for, the files have changed in between.
    """
    if one.classes != other.classes or one.number("n_test") != other.number("n_test"):
        return False
    digests = [(run.result.get("digests") or {}).get("data") for run in (one, other)]
    if None not in digests:
        if digests[0] == digests[1]:
            return True
        if not _asked_otherwise(one, other):
            return False
    return one.answers is not None and other.answers is not None and one.answers.images == other.answers.images


def _asked_otherwise(one: Run, other: Run) -> bool:
    """Whether the settings of the data differ between two runs, apart from those without effect."""
    ours, theirs = one.config or {}, other.config or {}
    pairs = [(ours.get(key), theirs.get(key)) for key in {*ours, *theirs} if key.startswith("data.")]
    return any(a != b and NO_EFFECT not in (a, b) for a, b in pairs)


def common_runs(one: Group, other: Group) -> list[tuple[Run, Run]]:
    """The runs of equal seed and fold that were tested on the same images, in order; of two alike the first."""
    found: dict[Repeat, tuple[Run, Run]] = {}
    for a in one.runs:
        for b in other.runs:
            if a.repeat == b.repeat and a.repeat not in found and same_test(a, b):
                found[a.repeat] = (a, b)
    return [found[repeat] for repeat in sorted(found)]


def right_in_both(runs: Sequence[tuple[Run, Run]]) -> tuple[np.ndarray, np.ndarray] | None:
    """Which images each side got right, bool [seeds, n] twice; None where a run has no readable predictions.

    The folds of a seed are one test set.
    """
    one, other = (pool_answers([pair[side] for pair in runs]) for side in (0, 1))
    if not one or not other or one[0].images != other[0].images:
        return None
    return np.stack([side.right for side in one]), np.stack([side.right for side in other])
