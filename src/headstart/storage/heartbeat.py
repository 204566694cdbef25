"""Signs of life: a process renews the time of a file, so that others see whether it still runs, from any machine.

A lock says the same only to who tries to take it, which would keep the owner out for that moment.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

EVERY = 5.0  # seconds
SILENT = 60.0  # seconds without a sign of life, after which a process on another machine counts as dead


@dataclass(frozen=True)
class Life:
    """What is known of the process that owns a file: who it is, whether it lives, and for how long it was silent."""

    owner: str
    alive: bool
    silent: float  # seconds


def describe_process() -> str:
    """Name this process so that every machine can tell it from others."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


@contextmanager
def beat(path: Path) -> Iterator[None]:
    """Inside this context, a thread renews the time of a file."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(EVERY):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=run, name="headstart-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def look(path: Path, owner: str) -> Life:
    """Look whether the process that `owner` names still runs; `path` is the file that it renews."""
    try:
        silent = max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return Life(owner, False, float("inf"))
    words = owner.split()
    if len(words) == 4 and words[1].isdecimal() and words[3] == socket.gethostname():
        return Life(owner, _exists(int(words[1])), silent)
    return Life(owner, silent < SILENT, silent)


def _exists(pid: int) -> bool:
    """Whether a process of this machine has this number and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with suppress(OSError, IndexError):  # there is no /proc on other systems than Linux
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        return state not in "ZX"  # it has ended, and its parent has not asked for its exit code yet
    return True
