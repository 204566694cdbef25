"""Ctrl-C and SIGTERM: at once where nothing would be lost, at the next step where a checkpoint can be written first."""

import ctypes
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_EVERY = 0.2  # seconds between two looks at the file that `watch` names


class Stopped(BaseException):
    """Somebody asked the run to stop; not an error, and nothing that `except Exception` may swallow."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What a shell gives a process that this signal ended."""
        return 128 + self.signum


@dataclass
class _Request:
    signum: int | None = None
    deferred: bool = False
    file: Path | None = None  # where the launching process leaves its request for a rank
    looked: float = 0.0


_request = _Request()


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped`, while this lasts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    before = {signum: signal.signal(signum, _handle) for signum in SIGNALS}
    _request.signum = None
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _handle(signum: int, frame: FrameType | None) -> None:
    if _request.deferred and _request.signum is None:
        _request.signum = signum
        log.info("%s: stopping at the next step; once more to stop at once", signal.Signals(signum).name)
    else:
        raise Stopped(signum)


@contextmanager
def defer_signals() -> Iterator[None]:
    """While this lasts, the first signal only leaves a request, for `requested` and `check` to find."""
    _request.deferred = True
    try:
        yield
    finally:
        _request.deferred = False


def watch_stop_file(file: Path) -> None:
    """In a rank: the request comes from the launching process, as a signal's number in a file."""
    _request.file = file
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.SIG_IGN)


def end_with_parent(signum: int) -> None:
    """Have this process get a signal when its parent dies, however that dies (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signum)


def requested_stop() -> int | None:
    """The signal that asked this run to stop, if one did."""
    now = time.monotonic()
    if _request.signum is None and _request.file is not None and now - _request.looked > LOOK_EVERY:
        _request.looked = now
        if _request.file.is_file():
            _request.signum = int(_request.file.read_text() or signal.SIGTERM)
    return _request.signum


def raise_if_stopped() -> None:
    """Raise `Stopped` if somebody asked for it: between two steps of the work, when all so far is on disk."""
    signum = requested_stop()
    if signum is not None:
        raise Stopped(signum)
