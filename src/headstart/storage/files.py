"""Write files completely or not at all: to a temporary name in the same folder, flushed to disk, then renamed."""

import json
import logging
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart.errors import RunFailed, UserError

log = logging.getLogger(__name__)

UMASK = os.umask(0o077)  # it can be read only by setting it; needed because safetensors makes files for the owner only
os.umask(UMASK)


@contextmanager
def write_whole(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path; the file that is written there replaces `path` when the context ends.

    Args:
        size: how many bytes will be written, for the error message, if it is known.

    Raises:
        RunFailed: it cannot be written; an old file at `path` stays, the temporary one is removed.
    """
    part = name_part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.chmod(0o666 & ~UMASK)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except Exception as error:
        written = part.stat().st_size if part.is_file() else 0
        if not _is_disk_error(error, (part, path, *path.parents)):
            raise
        raise make_write_error(path, written if size is None else size, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def name_part(path: Path) -> Path:
    """A name beside `path` for what is being written, which no other writer has.

    The number of the process would not do: on a shared file system other machines, and containers, have the same.
    """
    return path.with_name(f".{path.name}.{secrets.randbits(64)}")


def make_write_error(path: Path, size: int, error: BaseException) -> RunFailed:
    """Make the error for a file that could not be written: its path, its size, the reason."""
    reason = getattr(error, "strerror", None) or str(error).rpartition("I/O error: ")[2].partition("\n")[0]
    return RunFailed(
        f"cannot write {path} ({size} bytes): {reason}. Make room, or let output_dir and cache_dir name folders that "
        "can be written, and start the same command again"
    )


def _is_disk_error(error: Exception, paths: Collection[Path]) -> bool:
    """Whether an error comes from writing to one of these paths, and not from what is read or printed meanwhile.

    Writing itself raises errors without a path; safetensors wraps them in a class of its own.
    """
    if isinstance(error, OSError):
        return not isinstance(error, BrokenPipeError) and (error.filename is None or Path(error.filename) in paths)
    return type(error).__name__ == "SafetensorError"


class LogFile(logging.FileHandler):
    """A log file that does not stop the run: when it cannot be written, it ends with one warning on the console."""

    def __init__(self, path: Path) -> None:
        self._ended = False
        try:
            refuse_link(path)
            super().__init__(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise make_write_error(path, 0, error) from error

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
        with suppress(OSError):  # closing writes again what could not be written before
            super().close()


def refuse_link(path: Path) -> None:
    """Raise UserError if a file or folder that headstart makes itself is a symbolic link: it would write elsewhere."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a symbolic link to {path.readlink()}: nothing is written through it, because a folder from "
            "somebody else could point anywhere. Remove the link; to have the files elsewhere, set output_dir"
        )


def open_own(path: str | Path, flags: int) -> int:
    """Open a file that headstart makes itself, as `open(opener=...)` asks for; a symbolic link is refused."""
    refuse_link(Path(path))
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def make_folder(folder: Path, key: str) -> None:
    """Make a folder and its parents; raises a UserError that names `key` if it cannot be made or is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "not writable")
    except OSError as error:
        raise UserError(f"{key}: cannot make {folder}: {error.strerror or error}") from error


def check_output(path: Path, option: str, *, folder: bool) -> None:
    """Raise a UserError that names `option` if a file, or a folder, cannot be made here; nothing is made yet."""
    try:
        if path.is_file() if folder else path.is_dir():
            kinds = ("file", "folder") if folder else ("folder", "file")
            raise UserError(f"{option} {path}: is a {kinds[0]}; name a {kinds[1]}")
        above = next(each for each in path.absolute().parents if each.exists())
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror}; name another") from error
    if not above.is_dir():
        raise UserError(f"{option} {path}: {above} is a file, so nothing can be written below it; name another")
    place = path if path.is_dir() else above
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: nothing may be written to {place}; name another")


def write_text(path: Path, text: str, errors: str = "backslashreplace") -> None:
    """Write a text file in UTF-8, completely or not at all; invalid characters become escapes that JSON can read."""
    data = text.encode("utf-8", errors)
    with write_whole(path, len(data)) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, completely or not at all; infinities and NaN become null."""
    write_text(path, json.dumps(_replace_non_finite(value), indent=2, ensure_ascii=False) + "\n")


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value


def append_text(path: Path, text: str) -> None:
    """Append text to a file and flush it to disk; if not all of it can be written, nothing is."""
    data = text.encode("utf-8")
    try:
        with open(path, "ab", buffering=0, opener=open_own) as stream:  # a Path takes no opener
            before = stream.tell()
            try:
                rest = data
                while rest:  # when the disk becomes full, a part is written and the rest refused
                    rest = rest[stream.write(rest) :]
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(before)
                raise
    except OSError as error:
        raise make_write_error(path, len(data), error) from error
