"""What jobs share of a file until it changes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from headstart.runtime import shared

Value = TypeVar("Value")

SETTLED = 2e9  # ns after its last change from which on a file's time tells of a further one (FAT counts in 2 s)


def share_until_changed(kind: str, path: Path, make: Callable[[], Value], most: int = 1) -> Value:
    """Return what `make` makes of the content of a file; jobs of one process share it until the file changes.

    Args:
        most: as of `headstart.runtime.shared.share`.
    """
    try:
        status = path.stat()
    except OSError:
        return make()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) <= SETTLED:
        return make()  # the next change may leave the file with the same times
    stamp = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return shared.share(kind, stamp, make, most)
