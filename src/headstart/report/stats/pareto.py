"""What nothing cheaper beats."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def frontier(
    things: Iterable[T], cost: Callable[[T], float | None], worth: Callable[[T], float | None]
) -> list[tuple[float, T]]:
    """Those worth more than all that cost as much or less, with their costs, the cheapest first.

    What has no known cost or worth is left out.
    """
    known = [(c, w, thing) for thing in things if (c := cost(thing)) is not None and (w := worth(thing)) is not None]
    found: list[tuple[float, T]] = []
    most = float("-inf")
    for price, value, thing in sorted(known, key=lambda item: (item[0], -item[1])):
        if value > most:
            found.append((price, thing))
            most = value
    return found
