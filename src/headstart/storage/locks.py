"""One process at a time on a folder: by flock, and where other hosts do not see it, by a lease that ends.

A flock ends with its process, however that ends. A lease is renewed every `HEARTBEAT` seconds by a thread of its owner;
a process that has seen no renewal for `LEASE` seconds takes it over. An owner that was stopped for so long has lost its
lease and may not know: it has to ask `still_held` before it writes what counts. Between that question and the write,
another process may still take over; what is protected must therefore bear two results of the same run.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import RunFailed, UserError

if TYPE_CHECKING:
    from filelock import SoftReadWriteLock

log = logging.getLogger(__name__)

LEASE = 60.0  # seconds; a library that writes a large file may hold Python's lock, and so the heartbeat, for many
HEARTBEAT = 5.0  # seconds
POLL = 0.1  # seconds between two attempts of a process that waits
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Mount options of NFS, Lustre, GFS2 and OCFS2, and SMB: flock succeeds, and other hosts do not see it
HOST_ONLY = {"nolock", "local_lock=all", "local_lock=flock", "localflock", "localflocks", "nobrl"}
MOUNTS = Path("/proc/self/mountinfo")
ENDED = "ended\n"  # last line of a lock file whose lease was given back


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds.

    Attributes:
        descriptor: the locked file's; a child process that inherits it holds the lock too. None for a lease.
        claim: what the lock file says as long as the lease is held. None for a flock, which nobody can take over.
    """

    descriptor: int | None
    claim: str | None


@contextmanager
def hold(path: Path, wait: bool = False) -> Iterator[Lock]:
    """Hold the lock of the folder in which the lock file `path` lies; the file names the owner, and is never removed.

    Args:
        wait: for another process to end, instead of refusing.

    Raises:
        UserError: another process holds it (pid and host are named), or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from error
    with stream:  # removing the file would let two processes lock two files of one name
        no_flock = _flock(path, stream.fileno(), wait)
        if no_flock is None:
            with suppress(OSError):  # on a full disk the lock holds all the same, but does not say for whom
                os.ftruncate(stream.fileno(), 0)
                os.write(stream.fileno(), _this_process().encode())
            yield Lock(stream.fileno(), None)
            return
    _log_that_leases_are_used(no_flock)
    with _lease(path, wait) as claim:
        yield Lock(None, claim)


def still_held(path: Path, claim: str | None) -> bool:
    """Whether the lock is still held by the process that got this claim; any process may ask."""
    return claim is None or _read(path) == claim


def raise_if_lost(path: Path, claim: str | None) -> None:
    """Raise RunFailed, with the new owner and the time, if another process has taken the lease over."""
    if not still_held(path, claim):
        since = _read(path).partition(" since ")[2].partition("\n")[0] or "an unknown time"
        raise RunFailed(
            f"another process ({_owner(path)}) took {path.parent} over at {since}, because this one had not renewed "
            "its lease; its result counts, and this one's is not written"
        )


def _flock(path: Path, descriptor: int, wait: bool) -> str | None:
    """Lock an open file; returns None, or the reason why flock keeps no other process out here."""
    # Not filelock.FileLock: it does not give out the descriptor that torchrun's agent has to inherit
    from filelock import lock_descriptor

    option = _host_only(os.fstat(descriptor).st_dev)
    if option:
        return f"mount option {option}"
    try:
        if not lock_descriptor(descriptor, blocking=wait, poll_interval=POLL):
            raise _refusal(path)
        with path.open("a") as second:  # must be refused, or flock does nothing here
            if lock_descriptor(second.fileno(), blocking=False):
                return "flock lets everybody in"
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise _cannot_write(path, error) from error
        return error.strerror or str(error)
    return None


def _host_only(device: int) -> str | None:
    """The mount option, if any, because of which only this host sees the locks on a device (Linux)."""
    with suppress(OSError):
        for line in MOUNTS.read_text("utf-8", errors="replace").splitlines():
            fields = line.split()  # the third is the device's number, the last the file system's options
            if fields[2] == f"{os.major(device)}:{os.minor(device)}":
                return next(iter(HOST_ONLY & set(fields[-1].split(","))), None)
    return None


@cache  # once a process: a sweep takes two locks a job
def _log_that_leases_are_used(reason: str) -> None:
    log.warning(
        "this file system has no flock that other hosts see (%s): a lease is used instead, renewed every %g s and free "
        "%g s after a crash",
        reason,
        HEARTBEAT,
        LEASE,
    )


@contextmanager
def _lease(path: Path, wait: bool) -> Iterator[str]:
    """Hold the lease beside a lock file; gives the claim."""
    # Not filelock.SoftFileLease: it takes over by exchanging two file names, which NFS and SMB refuse, so that a lease
    # would never end there. This lock needs hard links only.
    from filelock import SoftReadWriteLock

    lease = SoftReadWriteLock(
        path,
        is_singleton=False,  # two threads of a process keep each other out too
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
                if still_held(path, claim):
                    path.write_text(claim + ENDED, "utf-8")
    finally:
        with suppress(OSError):  # what cannot be given back ends by itself
            lease.close()


def _claim(lease: SoftReadWriteLock, path: Path, wait: bool) -> str:
    """Acquire the lease, and write into the lock file whose it is."""
    try:
        _acquire(lease, path, wait)
        before = _read(path)
        if " since " in before and not before.endswith(ENDED):
            log.warning("%s: taken over from %s, which had not renewed its lease", path.parent, _owner(path))
        claim = f"{_this_process()}\nlease {lease.generation} since {datetime.now():%Y-%m-%d %H:%M:%S}\n"
        path.write_text(claim, "utf-8")  # closed at once, so that other NFS clients see it
    except OSError as error:
        raise _cannot_write(path, error) from error
    return claim


def _acquire(lease: SoftReadWriteLock, path: Path, wait: bool) -> None:
    from filelock import Timeout

    if wait:
        lease.acquire_write(timeout=-1)
        return
    try:
        lease.acquire_write(blocking=False)
    except Timeout:
        log.info("%s: watching for up to %g s whether %s renews its lease", path.parent, LEASE, _owner(path))
        try:
            lease.acquire_write(timeout=LEASE + HEARTBEAT)
        except Timeout:
            raise _refusal(path) from None


def _this_process() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _owner(path: Path) -> str:
    """The first line of a lock file."""
    with suppress(OSError):  # SMB lets nobody read what another process has locked
        return _read(path).partition("\n")[0].strip() or "another process"
    return "another process"


def _refusal(path: Path) -> UserError:
    return UserError(f"{path.parent} is being run by {_owner(path)}: wait for it, or stop it")


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"output_dir: cannot write {path}: {error.strerror or error}")
