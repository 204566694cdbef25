"""Paired tests between the rows of a task: Student's t over common seeds, corrected for many comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from headstart.config.effect import NO_EFFECT
from headstart.report.folds import name_repeats, pool_answers
from headstart.report.groups import Comparison, Group, Stat, stat
from headstart.report.metric import Metric
from headstart.report.repeat import Repeat
from headstart.report.study import Run

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.05
NO_SPREAD = 1e-12  # scores are shares of whole images, or means over them: what lies below is rounding


@dataclass(frozen=True)
class Pair:
    """Two rows of one task over the seeds that both have, tested on the same images; differences are `one - other`.

    `difference` is of the metric, None without a common seed; `p` is two-sided, `adjusted` after Holm
    over the task's tests, and both are None where nothing can be tested. `alone` counts images, pooled over the
    seeds, that only `one` and only `other` got right, of `images`.
    """

    one: Group
    other: Group
    runs: list[tuple[Run, Run]]
    difference: Stat | None
    p: float | None = None
    adjusted: float | None = None
    alone: tuple[int, int] | None = None
    images: int = 0

    @property
    def repeats(self) -> list[Repeat]:
        """The common seeds; with cross-validation, seeds and folds."""
        return [run.repeat for run, _ in self.runs]

    @property
    def shown(self) -> bool:
        """Whether the test shows a difference, at 5 % over all comparisons of the task."""
        return self.adjusted is not None and self.adjusted <= LEVEL

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
        if self.p is not None:
            return ""
        noun = self.noun
        if len(self.runs) < 2:
            both = {run.repeat for run in self.one.runs} & {run.repeat for run in self.other.runs}
            if len(both) > len(self.runs):
                return f"{len(self.runs)} common {noun}s on the same test images" if self.runs else "other test images"
            return f"one common {noun}" if self.runs else f"no common {noun}"
        return f"the same difference in every {noun}"

    @property
    def noun(self) -> str:
        """What the rows are paired over: seed, fold, or repeat."""
        return name_repeats([*self.one.runs, *self.other.runs])

    def turned(self) -> Pair:
        """The same pair with its rows exchanged."""
        found = self.difference
        difference = None if found is None else Stat(found.n, -found.mean, found.std, found.interval)
        alone = None if self.alone is None else (self.alone[1], self.alone[0])
        return replace(
            self,
            one=self.other,
            other=self.one,
            runs=[(b, a) for a, b in self.runs],
            difference=difference,
            alone=alone,
        )


@dataclass(frozen=True)
class Family:
    """A task's rows, best first, and all their pairs, the better row first; Holm's correction is over those tested."""

    task: str
    rows: list[Group]
    pairs: list[Pair]

    @property
    def tested(self) -> list[Pair]:
        """The pairs with a test: the family of the correction."""
        return [pair for pair in self.pairs if pair.p is not None]

    def between(self, one: Group, other: Group) -> Pair:
        """The pair of two of its rows, as `one - other`."""
        for pair in self.pairs:
            if pair.one is one and pair.other is other:
                return pair
            if pair.one is other and pair.other is one:
                return pair.turned()
        raise LookupError(f"{one.strategy} and {other.strategy} are not two rows of {self.task}")


def families(comparison: Comparison) -> list[Family]:
    """Every task's pairs, tested and corrected."""
    found = []
    for task, rows in comparison.tasks().items():
        pairs = [_pair(one, other) for one, other in combinations(rows, 2)]
        values = t_tests(pairs)
        adjusted = iter(holm([p for p in values if p is not None]))
        tested = [
            pair if p is None else replace(pair, p=p, adjusted=next(adjusted))
            for pair, p in zip(pairs, values, strict=True)
        ]
        found.append(Family(task, rows, tested))
    return found


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for testing all of them (Holm 1979): the i-th smallest of m counts (m - i + 1) fold, never
    less than a smaller one, at most 1.
    """
    # ours, as scipy has no Holm correction (it has that of Benjamini and Hochberg), and statsmodels is no dependency
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def t_tests(pairs: Sequence[Pair]) -> list[float | None]:
    """The two-sided p value of each pair's paired t test; None for fewer than two common seeds, or where the
    differences have no spread.
    """
    found: list[float | None] = [None] * len(pairs)
    by_seeds: dict[int, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        if pair.difference is not None and pair.difference.std is not None and pair.difference.std >= NO_SPREAD:
            by_seeds[len(pair.runs)].append(place)
    if not by_seeds:
        return found
    from scipy import stats

    # All pairs with as many seeds in one call: a call takes 0.4 ms, and 100 rows have 4,950 pairs.
    for places in by_seeds.values():
        one, other = ([[runs[side].score for runs in pairs[place].runs] for place in places] for side in (0, 1))
        for place, p in zip(places, stats.ttest_rel(one, other, axis=1).pvalue.tolist(), strict=True):
            found[place] = p
    return found


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
    import numpy as np

    one, other = (pool_answers([pair[side] for pair in runs]) for side in (0, 1))
    if not one or not other or one[0].images != other[0].images:
        return None
    return np.stack([side.right for side in one]), np.stack([side.right for side in other])


def _pair(one: Group, other: Group) -> Pair:
    runs = common_runs(one, other)
    difference = stat([a.score - b.score for a, b in runs])
    right = right_in_both(runs)
    if right is None:
        return Pair(one, other, runs, difference)
    here, there = right
    return Pair(
        one,
        other,
        runs,
        difference,
        alone=(int((here & ~there).sum()), int((there & ~here).sum())),
        images=here.size,
    )
