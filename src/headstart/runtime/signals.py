"""Ctrl-C, SIGTERM and their like: stop at once, or, where training would be lost, after a checkpoint at a step."""

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

# SIGHUP is sent when a terminal is closed or a connection ends, the last two by Slurm, as its user asks for; Windows
# does not have them
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
CHECK_EVERY = 0.2  # seconds between two checks of the file that `watch_stop_file` names


class Stopped(BaseException):
    """The user or the system asked the run to stop; no `Exception`, so that `except Exception` does not catch it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a process ended by this signal."""
        return 128 + self.signum


@dataclass
class _Request:
    signum: int | None = None
    deferred: bool = False
    file: Path | None = None  # in which the launching process leaves a request for a rank
    checked_at: float = 0.0
    handled_at: float = float("-inf")
    echo: float = 0.0  # seconds


_request = _Request()


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Inside this context, each of `SIGNALS` raises `Stopped`; a SIGHUP that nohup disabled stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    hung_up = getattr(signal, "SIGHUP", None)
    handled = [s for s in SIGNALS if s != hung_up or signal.getsignal(s) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, _handle) for signum in handled}
    _request.signum = None
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def ignore_echoes(seconds: float) -> None:
    """From here on, a signal that comes so soon after another one counts as the same."""
    _request.echo = seconds


def _handle(signum: int, frame: FrameType | None) -> None:
    before, _request.handled_at = _request.handled_at, time.monotonic()
    if _request.handled_at - before < _request.echo:
        return
    first, _request.signum = _request.signum is None, signum
    if _request.deferred and first:
        log.info("%s: stopping at the next step; once more to stop at once", signal.Signals(signum).name)
    else:
        raise Stopped(signum)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Inside this context, the first signal is only recorded, for `requested_stop` and `raise_if_stopped`."""
    _request.deferred = True
    try:
        yield
    finally:
        _request.deferred = False


def watch_stop_file(file: Path) -> None:
    """In a rank, take stop requests from a file in which the launching process writes a signal's number.

    SIGTERM ends the rank at once, if it was not started with `ignore_signals`.
    """
    _request.file = file
    for signum in SIGNALS:
        ends = signum == signal.SIGTERM and signal.getsignal(signum) != signal.SIG_IGN
        signal.signal(signum, signal.SIG_DFL if ends else signal.SIG_IGN)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Inside this context, signals wait, also in processes that are started here, until these call `ignore_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore_signals() -> None:
    """Ignore all of `SIGNALS`, here and in processes that this one starts: Slurm may send them to all of a job's."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_parent(signum: int) -> None:
    """Ask Linux to send this process a signal when its parent dies for any reason; does nothing on other systems."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signum)


def requested_stop() -> int | None:
    """The signal that asked this run to stop; None if there was none."""
    now = time.monotonic()
    if _request.signum is None and _request.file is not None and now - _request.checked_at > CHECK_EVERY:
        _request.checked_at = now
        if _request.file.is_file():
            _request.signum = int(_request.file.read_text() or signal.SIGTERM)
    return _request.signum


def raise_if_stopped() -> None:
    """Raise `Stopped` if a stop was requested; to be called when all finished work is on disk."""
    signum = requested_stop()
    if signum is not None:
        raise Stopped(signum)
