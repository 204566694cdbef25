"""Checkpoints that are verified after they are written and before they are used.

A file's name is `step-<optimizer steps>-<digest>.ckpt`. The digest is computed from the bytes in memory, so the content
of a truncated or damaged file does not match its name. The newest two checkpoints are kept.
"""

import hashlib
import io
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from headstart.errors import RunFailed
from headstart.storage.files import name_part, refuse_link

log = logging.getLogger(__name__)

KEEP = 2
DIGEST_BYTES = 8


class _HashingFile(io.RawIOBase):
    """A file opened for writing that computes the digest of the bytes written to it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(data)

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        super().close()


def write(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write plain containers and tensors as the newest checkpoint of `folder`, verify it, and delete older ones.

    Raises:
        RunFailed: it cannot be written, or reads back differently; the older ones are kept.
    """
    import torch

    temporary = name_part(folder / f"step-{step:08}")
    stream = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_link(folder)
        stream = _HashingFile(temporary)
        torch.save(dict(state), cast(IO[bytes], stream))
        stream.close()
        meant = stream.hasher.hexdigest()
        found = _digest(temporary)
        if found != meant:
            raise OSError(f"it reads back as {found}, {meant} was written")
        path = folder / f"step-{step:08}-{meant}.ckpt"
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps an OSError of its writer
        reason = (
            getattr(error.__cause__ or error.__context__ or error, "strerror", None) or str(error).partition("\n")[0]
        )
        size = stream.size if stream else 0
        with suppress(OSError):
            temporary.unlink()
        raise RunFailed(
            f"cannot write the checkpoint {folder}/step-{step:08} ({size} bytes so far): {reason}; "
            "the one before it is kept. Make room, and start the same command again"
        ) from error
    for old in _list_newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def find_newest(folder: Path) -> Path | None:
    """Find the newest checkpoint of `folder` that matches its digest; damaged ones are removed with a warning."""
    for path in _list_newest_first(folder):
        if _digest(path) == path.stem.rpartition("-")[2]:
            return path
        log.warning("the checkpoint %s is damaged: it is removed, and the one before it is used", path)
        path.unlink()
    return None


def remove(folder: Path) -> None:
    """Delete all checkpoints of `folder`, when its phase is done."""
    for path in _list_newest_first(folder):
        path.unlink(missing_ok=True)


def _list_newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
