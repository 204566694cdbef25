"""Which repeat of an experiment a run is."""

from typing import NamedTuple


class Repeat(NamedTuple):
    """The seed of a run, and its fold (-1 without cross-validation)."""

    seed: int
    fold: int = -1

    @property
    def place(self) -> float:
        """A number to sort by: seeds, and the folds between them."""
        return self.seed + (self.fold + 1) / 1000

    def __str__(self) -> str:
        return str(self.seed) if self.fold < 0 else f"{self.seed}/fold{self.fold}"
