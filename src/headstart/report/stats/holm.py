"""Holm's correction for testing several differences at once."""

from collections.abc import Sequence


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
