"""Files that are whole or absent: written beside their place, flushed to the disk, and renamed into it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import RunFailed, UserError

log = logging.getLogger(__name__)

UMASK = os.umask(0o077)  # reading it means setting it; safetensors makes files that nobody else may read
os.umask(UMASK)


@contextmanager
def write_whole(path: Path, size: int | None = None) -> Iterator[Path]:
    """Give a path beside `path` to write to; what lies there at the end takes its place, an old file stays till then.

    Args:
        size: bytes that are about to be written, for the message, where they are known.

    Raises:
        RunFailed: it cannot be written; nothing of it is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.chmod(0o666 & ~UMASK)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except Exception as error:
        written = part.stat().st_size if part.is_file() else 0
        if not _of_the_disk(error):
            raise
        raise cannot_write(path, written if size is None else size, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def cannot_write(path: Path, size: int, error: BaseException) -> RunFailed:
    """The error of a file that could not be written: its path, its bytes, the reason."""
    reason = getattr(error, "strerror", None) or str(error).rpartition("I/O error: ")[2].partition("\n")[0]
    return RunFailed(
        f"cannot write {path} ({size} bytes): {reason}. Make room, or let output_dir and cache_dir name folders that "
        "can be written, and start the same command again"
    )


def _of_the_disk(error: Exception) -> bool:
    """Whether an error is the system's: safetensors and Pillow's encoders wrap theirs in classes of their own."""
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError"


class LogFile(logging.FileHandler):
    """A log file that a full disk ends with one warning on the console: the run matters more than its log."""

    def __init__(self, path: Path) -> None:
        self._ended = False
        try:
            super().__init__(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise cannot_write(path, 0, error) from error

    def emit(self, record: logging.LogRecord) -> None:
        if not self._ended:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        self._ended = True
        log.warning("%s is cut short: it cannot be written any more; the run goes on", self.baseFilename)

    def flush(self) -> None:
        with suppress(*([OSError] if self._ended else [])):
            super().flush()

    def close(self) -> None:
        with suppress(OSError):  # what could not be written before cannot be now
            super().close()


def make_folder(folder: Path, key: str) -> None:
    """Make a folder, with its parents, that can be written; a UserError that names `key` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "not writable")
    except OSError as error:
        raise UserError(f"{key}: cannot make {folder}: {error.strerror or error}") from error


def write_text(path: Path, text: str, errors: str = "backslashreplace") -> None:
    """Write a text file in UTF-8, whole or not at all; what is no character becomes an escape that JSON knows."""
    data = text.encode("utf-8", errors)
    with write_whole(path, len(data)) as part:
        part.write_bytes(data)


def append_text(path: Path, text: str) -> None:
    """Add lines to the end of a file, on the disk when this returns; if they cannot all be written, none is."""
    data = text.encode("utf-8")
    try:
        with path.open("ab", buffering=0) as stream:
            before = stream.tell()
            try:
                rest = data
                while rest:  # a disk that fills up takes a part, and refuses what is left
                    rest = rest[stream.write(rest) :]
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(before)
                raise
    except OSError as error:
        raise cannot_write(path, len(data), error) from error
