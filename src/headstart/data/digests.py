"""The digests of files' contents, remembered under the cache folder: a file that did not change is read once.

They lie in shards (see `headstart.storage.shards`) of 32-byte rows: the stamp of a file beside the digest of its
content, sorted. A stamp is a digest of the file's path, size, inode and both times of change: the one that programs can
set (an archive that is unpacked again sets it), and the one that only the system sets.

A file that cannot be read is no error here: its digest is one of its path, and `headstart.data.checks` names all such
files when it decodes them, or leaves them out.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.storage.shards import Bytes, Shards
from headstart.storage.stamps import SETTLED
from headstart.tracking import progress

WIDTH = 16  # bytes of a digest
SHARD = 65_536  # files that are remembered together: what a crash of a long first reading can cost
THREADS, BLOCK = 8, 64  # and files that one of them takes at a time


@dataclass
class Contents:
    """Digests of files by path; ``folder`` None remembers nothing.

    Attributes:
        stamps: of every file whose digest was asked for, so that a file that changes afterwards is noticed.
    """

    folder: Path | None = None
    stamps: dict[str, bytes] = field(default_factory=dict, repr=False)
    _known: np.ndarray | None = field(default=None, repr=False)  # uint8 [n, 32], sorted by the first eight bytes

    def digests(self, paths: Sequence[str]) -> list[bytes]:
        """The blake2b-128 of each file's bytes, or of its path if it cannot be read."""
        with ThreadPoolExecutor(THREADS) as pool:
            stamps = [stamp for some in pool.map(_stamps, _blocks(paths)) for stamp in some]
            self.stamps.update(zip(paths, stamps, strict=True))
            if self.folder is None:
                return [content for content, _ in _reported(pool.map(_read, _blocks(paths)), len(paths))]
            keys = _rows(stamps)
            found, values = self._look_up(keys)
            missing = np.flatnonzero(~found)
            blocks = _blocks([paths[at] for at in missing.tolist()])
            done = _reported(pool.map(_read, blocks), len(missing))
            for start in range(0, len(missing), SHARD):
                some = missing[start : start + SHARD]
                read = [next(done) for _ in some]
                values[some] = _rows(content for content, _ in read)
                settled = some[[long_ago for _, long_ago in read]]
                if len(settled):
                    self._shards.write(_sorted(np.hstack([keys[settled], values[settled]])).tobytes())
        return [value.tobytes() for value in values]

    def count_unread(self, paths: Sequence[str]) -> int:
        """The bytes that `digests` would have to read for these files."""
        if self.folder is None:
            missing = list(paths)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                stamps = [stamp for some in pool.map(_stamps, _blocks(paths)) for stamp in some]
            found, _ = self._look_up(_rows(stamps))
            missing = [path for path, known in zip(paths, found.tolist(), strict=True) if not known]
        return sum(Path(path).stat().st_size for path in missing if Path(path).is_file())

    def has_changed(self, path: str, digest: str) -> bool:
        """Whether a file's content is no longer the one that `digests` gave this digest (hex)."""
        before = self.stamps.get(path)
        return before is not None and _stamp(path) != before and _read([path])[0][0].hex() != digest

    def _look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which keys [n, 16] are known, and their values [n, 16]."""
        if self._known is None:
            known = np.frombuffer(b"".join(self._shards.read()), np.uint8)
            self._known = _sorted(known.reshape(-1, 2 * WIDTH))
        found, values = np.zeros(len(keys), bool), np.zeros((len(keys), WIDTH), np.uint8)
        if len(self._known) and len(keys):
            places = np.searchsorted(_heads(self._known), _heads(keys)).clip(max=len(self._known) - 1)
            rows = self._known[places]
            found = (rows[:, :WIDTH] == keys).all(1)
            values[found] = rows[found, WIDTH:]
        return found, values

    @property
    def _shards(self) -> Shards[bytes]:
        assert self.folder is not None
        return Shards(
            self.folder / "images" / "contents",
            Bytes(".rows"),
            damaged="{path} is damaged and is not used; the files that it knew are read again",
            full="the next run reads its image files again: {error}",
        )


def _heads(rows: np.ndarray) -> np.ndarray:
    """uint64 [n]: the first eight bytes of each row, by which they are sorted."""
    return np.ascontiguousarray(rows[:, :8]).view("<u8")[:, 0]


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(_heads(rows), kind="stable")]


def _rows(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, WIDTH)


def _blocks(paths: Sequence[str]) -> list[Sequence[str]]:
    return [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]


def _stamps(paths: Sequence[str]) -> list[bytes]:
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> bytes:
    """What changes when a file does: a digest of its path, size, times of change and inode."""
    place = os.fsencode(os.path.abspath(path))  # noqa: PTH100 a Path costs ten times as much
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return hashlib.blake2b(b"absent " + place, digest_size=WIDTH).digest()
    # st_ctime_ns is set by the system alone (on Windows it is when the file was made)
    text = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} ".encode() + place
    return hashlib.blake2b(text, digest_size=WIDTH).digest()


def _read(paths: Sequence[str]) -> list[tuple[bytes, bool]]:
    """The digest of each file's content, and whether its times of change will tell of the next change."""
    read = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116
            settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                read.append((hashlib.blake2b(file.read(), digest_size=WIDTH).digest(), settled))
        except OSError:
            place = os.fsencode(os.path.abspath(path))  # noqa: PTH100
            read.append((hashlib.blake2b(b"unreadable " + place, digest_size=WIDTH).digest(), False))
    return read


def _reported(done: Iterable[list[tuple[bytes, bool]]], total: int) -> Iterator[tuple[bytes, bool]]:
    """What was read, one by one; shown while it lasts."""
    with progress.task("reading files for their digests, once", total, "files") as work:
        for some in done:
            yield from some
            work.done += len(some)
