"""Reading a data set only where it lies on this machine: a report that shows some images downloads none."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_offline: ContextVar[bool] = ContextVar("offline", default=False)


@contextmanager
def forbid_downloads() -> Iterator[None]:
    """Inside this context, a data set that is not on this machine raises a UserError and is not fetched."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def may_download() -> bool:
    """Whether a data set that is not on this machine may be fetched."""
    return not _offline.get()
