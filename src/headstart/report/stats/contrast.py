"""Two rows of a task that are looked into: recall class by class, and which test images changed verdict."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.errors import UserError
from headstart.report.stats.families import check_names, rows_called
from headstart.report.stats.one_row import score_classes
from headstart.report.stats.paired import Family, Pair, right_in_both
from headstart.report.stats.worth import cheapest
from headstart.report.study.answers import read_names
from headstart.report.study.folds import by_seed, pool_answers
from headstart.report.study.groups import Comparison, Stat, stat

ALL_SHOWN = 24


@dataclass(frozen=True)
class Verdicts:
    """Two rows' verdicts on each test image: how many of the common seeds got it right, int [n] for each row.

    `said` are the classes predicted most often, int [n] for each row; of two as frequent the lower one.
    """

    pair: Pair
    labels: np.ndarray
    one: np.ndarray
    other: np.ndarray
    said: tuple[np.ndarray, np.ndarray]

    @property
    def seeds(self) -> int:
        """How many seeds both rows have."""
        return len(by_seed(run for run, _ in self.pair.runs))

    @property
    def gained(self) -> int:
        """Images that more seeds of the first row got right."""
        return int((self.one > self.other).sum())

    @property
    def lost(self) -> int:
        """Images that more seeds of the second row got right."""
        return int((self.one < self.other).sum())

    @property
    def turned(self) -> tuple[int, int]:
        """Images that all seeds of one row got right and none of the other: won by the first, by the second."""
        full = self.seeds
        return (
            int(((self.one == full) & (self.other == 0)).sum()),
            int(((self.one == 0) & (self.other == full)).sum()),
        )

    def order(self) -> list[int]:
        """The images that changed, those that changed most first, gains before losses, then by index."""
        change = self.one - self.other
        places = np.lexsort((np.arange(len(change)), -change, -np.abs(change)))
        return [int(place) for place in places if change[place] != 0]

    def names(self) -> list[str]:
        """The images' names, from the predictions of the first seed."""
        return read_names(run.folder for run in by_seed(run for run, _ in self.pair.runs)[0])


def verdicts(pair: Pair) -> Verdicts | None:
    """Both rows' verdicts over their common seeds; None where there are none, or no readable predictions."""
    right = right_in_both(pair.runs)
    if right is None:
        return None
    one, other = (side.sum(axis=0) for side in right)
    first = pool_answers([run for run, _ in pair.runs])
    assert first
    return Verdicts(pair, first[0].labels, one, other, (_most_frequent(pair, 0), _most_frequent(pair, 1)))


def _most_frequent(pair: Pair, side: int) -> np.ndarray:
    answers = pool_answers([runs[side] for runs in pair.runs])
    assert answers
    votes = np.stack([one.predicted for one in answers])
    counts = (votes[:, None, :] == votes[None, :, :]).sum(axis=1)  # [seeds, n]: how many seeds say the same
    leads = np.where(counts == counts.max(axis=0), votes, np.iinfo(votes.dtype).max)
    return leads.min(axis=0)


@dataclass(frozen=True)
class ClassChange:
    """A class's recall in two rows over their common seeds, and its paired difference; shares of 1."""

    name: str
    label: int
    images: int
    one: float
    other: float
    difference: Stat


def changes(pair: Pair) -> list[ClassChange]:
    """Each class that has test images, in label order; empty where predictions cannot be read."""
    sides = [score_classes([runs[side] for runs in pair.runs]) for side in (0, 1)] if pair.runs else [None]
    known = [side for side in sides if side is not None]
    if len(known) < 2:
        return []
    images, one, other = known[0].images, known[0].recall, known[1].recall
    found = []
    for label, name in enumerate(pair.one.runs[0].classes):
        difference = stat((one[:, label] - other[:, label]).tolist())
        if images[label] and difference is not None:
            means = float(one[:, label].mean()), float(other[:, label].mean())
            found.append(ClassChange(name, label, int(images[label]), *means, difference))
    return found


def most_changed(found: list[ClassChange], most: int = ALL_SHOWN) -> list[ClassChange]:
    """The classes by difference, the largest gain first; of many the half with the largest gains and losses."""
    ordered = sorted(found, key=lambda change: (-change.difference.mean, change.label))
    return ordered if len(ordered) <= most else ordered[: most // 2] + ordered[-(most // 2) :]


@dataclass(frozen=True)
class Contrast:
    """Two rows of a task that are looked into."""

    task: str
    pair: Pair

    @cached_property
    def classes(self) -> list[ClassChange]:
        """Each class's recall in both; empty where predictions cannot be read."""
        return changes(self.pair)

    @cached_property
    def verdicts(self) -> Verdicts | None:
        """Both rows' verdicts on each test image; None where predictions cannot be read."""
        return verdicts(self.pair)


def contrasts(comparison: Comparison, families: list[Family], between: tuple[str, str] | None = None) -> list[Contrast]:
    """What to look into: of each task the best row against the next best and against the cheapest.

    Args:
        between: two rows by label instead, in every task that has both.

    Raises:
        UserError: a label that no row has, one that two rows share, or two labels that no task has both of.
    """
    if between is not None:
        return _find_named(comparison, families, between)
    found = []
    for family in families:
        if len(family.rows) < 2:
            continue
        best, following, least = family.rows[0], family.rows[1], cheapest(family.rows)
        found.append(Contrast(family.task, family.between(best, following)))
        if least is not None and least is not best and least is not following:
            found.append(Contrast(family.task, family.between(best, least)))
    return found


def _find_named(comparison: Comparison, families: list[Family], between: tuple[str, str]) -> list[Contrast]:
    check_names(comparison, {family.task: family.rows for family in families}, between, "--between")
    found = []
    for family in families:
        one, other = (rows_called(comparison, family.rows, name) for name in between)
        if one and other and one[0] is not other[0]:
            found.append(Contrast(family.task, family.between(one[0], other[0])))
    if not found:
        raise UserError(f"--between: {between[0]!r} and {between[1]!r} are not two rows of one task.")
    return found
