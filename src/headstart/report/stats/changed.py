"""Which test images changed verdict between two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.report.stats.paired import Pair, right_in_both
from headstart.report.study.answers import read_names
from headstart.report.study.folds import by_seed, pool_answers

if TYPE_CHECKING:
    import numpy as np


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
        import numpy as np

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
    import numpy as np

    answers = pool_answers([runs[side] for runs in pair.runs])
    assert answers
    votes = np.stack([one.predicted for one in answers])
    counts = (votes[:, None, :] == votes[None, :, :]).sum(axis=1)  # [seeds, n]: how many seeds say the same
    leads = np.where(counts == counts.max(axis=0), votes, np.iinfo(votes.dtype).max)
    return leads.min(axis=0)
