"""Memory of this process: how much is free, and what becomes of what is freed."""

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
    """While this lasts, memory that is freed on a CPU is kept for the next tensor; then it goes back to the system.

    glibc gives the system each large block back, and whoever takes the next one pays for it page by page:
    EfficientNet-Lite0 trained 1.3 times as fast with this (96 px, batch 50). Elsewhere nothing happens.
    """
    libc = _glibc() if config.accelerator == "cpu" else None
    if libc is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        if libc is not None:
            libc.mallopt(M_MMAP_MAX, 65536)  # glibc's own default, and what its other limit grows to
            libc.mallopt(M_TRIM_THRESHOLD, 2**26)
            give_memory_back()


def give_memory_back() -> None:
    """Return to the system all memory that is freed and was kept, so that what it says is free is all there is."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def free_memory() -> float:
    """Bytes that this process can still use: of the machine, or of its cgroup where that is less."""
    give_memory_back()
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, float(limit) - float((group / "memory.current").read_text()))
    except (OSError, StopIteration):
        pass  # no Linux, or no cgroup: what is known counts
    return free
