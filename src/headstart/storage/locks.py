"""A lock that lets one process at a time use a folder: a flock, or a lease where other hosts do not see a flock.

A flock ends when its process ends for any reason. A thread of its owner renews a lease every `HEARTBEAT` seconds;
a process that sees no renewal for `LEASE` seconds takes it over. An owner that was stopped for so long has lost the
lease without knowing it, so it has to check `is_held` before it writes a result. Between that check and the write
another process may still take the lease over; it must therefore do no harm if the same run is finished twice.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import RunFailed, UserError
from headstart.storage.files import open_own
from headstart.storage.heartbeat import describe_process

if TYPE_CHECKING:
    from filelock import SoftReadWriteLock

log = logging.getLogger(__name__)

LEASE = 60.0  # seconds; long, because writing a large file may block Python's threads, and so the renewal, for a while
HEARTBEAT = 5.0  # seconds
POLL = 0.1  # seconds between two attempts of a process that waits
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Mount options of NFS, Lustre, GFS2 and OCFS2, and SMB: flock succeeds, and other hosts do not see it
HOST_ONLY = {"nolock", "local_lock=all", "local_lock=flock", "localflock", "localflocks", "nobrl"}
MOUNTS = Path("/proc/self/mountinfo")
ENDED = "ended\n"  # last line of a lock file whose lease was released


class HeldElsewhere(UserError):
    """Another living process holds the lock of a folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.owner = path, read_owner(path)
        super().__init__(f"{path.parent} is being run by {self.owner}: wait for it, or stop it")


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds.

    Attributes:
        descriptor: of the locked file; a child process that inherits it holds the lock too. None for a lease.
        claim: the content of the lock file while the lease is held. None for a flock, which cannot be taken over.
    """

    descriptor: int | None
    claim: str | None


@contextmanager
def hold(path: Path, wait: bool = False) -> Iterator[Lock]:
    """Hold the lock of the folder with the lock file `path`; the file names the owner, and is never removed.

    Args:
        wait: wait until no other process holds the lock, instead of raising.

    Raises:
        HeldElsewhere: another process holds the lock; its pid and host are named.
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "a+", encoding="utf-8", opener=open_own)  # noqa: SIM115 - closed below; a Path takes no opener
    except OSError as error:
        raise _make_write_error(path, error) from error
    with stream:  # removing the file would let two processes lock two files of one name
        no_flock = _flock(path, stream.fileno(), wait)
        if no_flock is None:
            with suppress(OSError):  # on a full disk the lock works too, but the file does not name its owner
                os.ftruncate(stream.fileno(), 0)
                os.write(stream.fileno(), describe_process().encode())
            yield Lock(stream.fileno(), None)
            return
    _warn_of_leases(no_flock)
    with _lease(path, wait) as claim:
        yield Lock(None, claim)


def is_held(path: Path, claim: str | None) -> bool:
    """Whether the process that got this claim still holds the lock; any process may call this."""
    return claim is None or _read(path) == claim


def raise_if_lost(path: Path, claim: str | None) -> None:
    """Raise RunFailed, with the new owner and the time, if another process has taken the lease over."""
    if not is_held(path, claim):
        since = _read(path).partition(" since ")[2].partition("\n")[0] or "an unknown time"
        raise RunFailed(
            f"another process ({read_owner(path)}) took {path.parent} over at {since}, because this one had not "
            "renewed its lease; its result counts, and this one's is not written"
        )


def _flock(path: Path, descriptor: int, wait: bool) -> str | None:
    """Lock an open file; returns None, or the reason why flock cannot be relied on for this file."""
    # Not filelock.FileLock: it hides the descriptor, which torchrun's agent has to inherit
    from filelock import lock_descriptor

    option = _find_host_only_option(os.fstat(descriptor).st_dev)
    if option:
        return f"mount option {option}"
    try:
        if not lock_descriptor(descriptor, blocking=wait, poll_interval=POLL):
            raise HeldElsewhere(path)
        with path.open("a") as second:  # a second lock must be refused, else flock does nothing here
            if lock_descriptor(second.fileno(), blocking=False):
                return "flock does not keep other processes out"
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise _make_write_error(path, error) from error
        return error.strerror or str(error)
    return None


def _find_host_only_option(device: int) -> str | None:
    """Find the mount option that makes locks on a device visible to this host only (Linux); None if there is none."""
    with suppress(OSError):
        for line in MOUNTS.read_text("utf-8", errors="replace").splitlines():
            fields = line.split()  # the third is the device's number, the last the file system's options
            if fields[2] == f"{os.major(device)}:{os.minor(device)}":
                return next(iter(HOST_ONLY & set(fields[-1].split(","))), None)
    return None


@cache  # one warning for each process: a sweep takes two locks for each job
def _warn_of_leases(reason: str) -> None:
    log.warning(
        "this file system has no flock that other hosts see (%s): a lease is used instead, renewed every %g s and free "
        "%g s after a crash",
        reason,
        HEARTBEAT,
        LEASE,
    )


@contextmanager
def _lease(path: Path, wait: bool) -> Iterator[str]:
    """Hold the lease of a lock file; yields the claim."""
    # Not filelock.SoftFileLease: to take over, it exchanges the names of two files, which NFS and SMB refuse, so there
    # a lease would never end. This lock needs hard links only.
    from filelock import SoftReadWriteLock

    lease = SoftReadWriteLock(
        path,
        is_singleton=False,  # so that two threads of one process exclude each other too
        heartbeat_interval=HEARTBEAT,
        stale_threshold=LEASE,
        poll_interval=POLL,
        on_compromise=lambda loss: log.warning("%s: the lease is lost (%s)", path.parent, loss.reason),
    )
    try:
        claim = _claim(lease, path, wait)
        try:
            yield claim
        finally:
            with suppress(OSError):
                if is_held(path, claim):
                    path.write_text(claim + ENDED, "utf-8")
    finally:
        with suppress(OSError):  # a lease that cannot be released ends by itself
            lease.close()


def _claim(lease: SoftReadWriteLock, path: Path, wait: bool) -> str:
    """Acquire the lease, and write its owner into the lock file."""
    try:
        _acquire(lease, path, wait)
        before = _read(path)
        if " since " in before and not before.endswith(ENDED):
            log.warning("%s: taken over from %s, which had not renewed its lease", path.parent, read_owner(path))
        claim = f"{describe_process()}\nlease {lease.generation} since {datetime.now():%Y-%m-%d %H:%M:%S}\n"
        path.write_text(claim, "utf-8")  # closed at once, so that other NFS clients see it
    except OSError as error:
        raise _make_write_error(path, error) from error
    return claim


def _acquire(lease: SoftReadWriteLock, path: Path, wait: bool) -> None:
    from filelock import Timeout

    if wait:
        lease.acquire_write(timeout=-1)
        return
    try:
        lease.acquire_write(blocking=False)
    except Timeout:
        log.info("%s: watching for up to %g s whether %s renews its lease", path.parent, LEASE, read_owner(path))
        try:
            lease.acquire_write(timeout=LEASE + HEARTBEAT)
        except Timeout:
            raise HeldElsewhere(path) from None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def read_owner(path: Path) -> str:
    """The first line of a lock file."""
    with suppress(OSError):  # on SMB a file that another process has locked cannot be read
        return _read(path).partition("\n")[0].strip() or "another process"
    return "another process"


def _make_write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"output_dir: cannot write {path}: {error.strerror or error}")
