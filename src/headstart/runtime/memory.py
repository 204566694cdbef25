"""Memory of this process: how much is free, and whether freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


@contextmanager
def keep_freed_memory(config: HardwareConfig) -> Iterator[None]:
    """Inside this context, freed memory is kept for the next tensor (on a CPU); afterwards the system gets it back.

    Usually glibc returns each large freed block to the system, and the next large block costs a page fault for each of
    its pages. With this, EfficientNet-Lite0 trained 1.3 times as fast (96 px, batches of 50). On a GPU and without
    glibc nothing happens.
    """
    libc = _load_glibc() if config.accelerator == "cpu" else None
    if libc is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        if libc is not None:
            libc.mallopt(M_MMAP_MAX, 65536)  # glibc's default; the default of the other one grows up to 2^26
            libc.mallopt(M_TRIM_THRESHOLD, 2**26)
            release_memory()


def release_memory() -> None:
    """Return all freed memory to the system, so that the system's number of free bytes includes it."""
    libc = _load_glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _load_glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def free_memory() -> float:
    """How many bytes this process can still use: of the machine, or of its cgroup if that is less."""
    release_memory()
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, float(limit) - float((group / "memory.current").read_text()))
    except (OSError, StopIteration):
        pass  # no Linux, or no cgroup: use what is known
    return free
