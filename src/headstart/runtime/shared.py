"""What the jobs of one process share: values that are dear to make, kept from one job to the next.

Nothing is kept outside `between_jobs`: a single run needs no value twice. A value may be shared only if no job changes
it; each kind keeps the few values that were used last, so that a sweep over networks holds one network, not all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Value = TypeVar("Value")

_kept: dict[str, OrderedDict[Hashable, Any]] | None = None
_derived: dict[int, dict[str, tuple[Hashable, Any]]] = {}  # by the id of a shared object, and by kind


@contextmanager
def between_jobs() -> Iterator[None]:
    """Inside this context, `share` keeps what it makes."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        forget()
        _kept = before


def begin() -> None:
    """From now on, until this process ends, `share` keeps what it makes: the process works for a sweep."""
    global _kept
    _kept = {} if _kept is None else _kept


def share(kind: str, key: Hashable, make: Callable[[], Value], most: int = 1) -> Value:
    """Return what `make` makes, or what it made before for the same key; of a kind, the last `most` values are kept."""
    if _kept is None:
        return make()
    values = _kept.setdefault(kind, OrderedDict())
    if key not in values:
        while len(values) >= most:  # before the new one is made: two networks may not fit into memory
            values.popitem(last=False)
            _derived.clear()  # it may hold what goes
        values[key] = make()
    values.move_to_end(key)
    return values[key]


def forget(kind: str | None = None) -> None:
    """Let go of the values of a kind, or of all: a job that failed may have left them half changed, or memory is short.

    What was derived goes with them.
    """
    _derived.clear()
    if _kept is None:
        return
    if kind is None:
        _kept.clear()
    else:
        _kept.pop(kind, None)


def let_derive(owner: Any) -> None:
    """Let `derive` keep what is made from this object, which `share` has returned."""
    if _kept is not None:
        _derived.setdefault(id(owner), {})


def derive(owner: Any, kind: str, key: Hashable, make: Callable[[], Value]) -> Value:
    """Return what `make` makes from `owner`; if jobs share `owner`, the last value of each kind is kept."""
    values = _derived.get(id(owner))
    if values is None:
        return make()
    if kind not in values or values[kind][0] != key:
        values.pop(kind, None)
        values[kind] = key, make()
    value: Value = values[kind][1]
    return value
