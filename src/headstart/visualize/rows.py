"""Some images of a part, drawn at random."""

import numpy as np


def draw_rows(n: int, most: int, seed: int) -> np.ndarray:
    """Draw at most so many of n rows, the same for the same seed: int64, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])
