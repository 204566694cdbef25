"""What can be deleted because it can be made again: found by name, so that no file of anybody else is touched.

Symbolic links are not followed, and not deleted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.storage.records import is_completed

CHECKPOINTS = "checkpoints of completed runs"
HALF_WRITTEN = "half-written files"
CACHES = {
    "features": "cached features",
    "images": "digests and checks of image files",
    "tune": "timings of this machine",
}
HALF = re.compile(r"\..+\.\d+")  # as `files.name_part` names them: .NAME.NUMBER
PASSED_ON = re.compile(r"best\.safetensors|step-\d+-[0-9a-f]+\.ckpt")  # in a phase's folder
CACHED = re.compile(r"[0-9a-f]{16,}\.(safetensors|rows|ids|json)")
DAY = 86_400.0  # seconds; a younger half-written file of a cache may still be being written, by any process


@dataclass(frozen=True)
class Leftover:
    """Files that belong together: one phase's checkpoints, or one key of a cache.

    Attributes:
        folder: in which they lie; it goes too if nothing else is in it.
        size: of all together, in bytes.
        changed: when the newest of them was written, in seconds since 1970.
    """

    kind: str
    folder: Path
    files: tuple[Path, ...]
    size: int
    changed: float

    @property
    def age(self) -> float:
        """Seconds since the newest file was written."""
        return max(0.0, time.time() - self.changed)


def find_checkpoints(run: Path) -> list[Leftover]:
    """What the phases of a run passed on to each other; nothing if the run is not complete.

    The final weights, which lie beside the phases' folders, are none of it.
    """
    if not is_completed(run):
        return []
    return _group(
        CHECKPOINTS, (entry for folder in _folders(run / "checkpoints") for entry in _files(folder, PASSED_ON))
    )


def find_half_written(run: Path) -> list[Leftover]:
    """What processes that were killed left of files in a run's folder; nobody else may work in it meanwhile."""
    folders = [run, run / "figures", run / "checkpoints", *_folders(run / "checkpoints")]
    return _group(HALF_WRITTEN, (entry for folder in folders for entry in _files(folder, HALF)))


def find_cached(cache: Path) -> list[Leftover]:
    """What the cache folder holds, one for each of its keys, and half-written files that are older than a day."""
    found: list[Leftover] = []
    for name, kind in CACHES.items():
        folders = [cache / name, *_folders(cache / name)]
        found += _group(kind, (entry for folder in folders for entry in _files(folder, CACHED)))
        half = [path for folder in folders for path in _files(folder, HALF)]
        found += _group(HALF_WRITTEN, (path for path, status in _look(half) if time.time() - status.st_mtime > DAY))
    return found


def delete(leftovers: Iterable[Leftover]) -> int:
    """Delete the files, and the folders that are empty then; returns how many bytes became free.

    Raises:
        OSError: a file cannot be deleted.
    """
    freed = 0
    for leftover in leftovers:
        for path in leftover.files:
            with suppress(FileNotFoundError):  # somebody else has deleted it
                size = path.lstat().st_size
                path.unlink()
                freed += size
        if leftover.kind != HALF_WRITTEN:
            for folder in (leftover.folder, leftover.folder.parent):
                with suppress(OSError):  # not empty
                    folder.rmdir()
    return freed


def _folders(place: Path) -> list[Path]:
    """The folders in a folder, links left out; none if it is a link itself."""
    return [Path(entry.path) for entry in _entries(place) if entry.is_dir(follow_symlinks=False)]


def _files(folder: Path, name: re.Pattern[str]) -> list[Path]:
    found = [entry for entry in _entries(folder) if entry.is_file(follow_symlinks=False) and name.fullmatch(entry.name)]
    return [Path(entry.path) for entry in found]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # there is none
        return []


def _group(kind: str, files: Iterable[Path]) -> list[Leftover]:
    groups: dict[Path, list[tuple[Path, os.stat_result]]] = {}
    for path, status in _look(files):
        groups.setdefault(path.parent, []).append((path, status))
    return [
        Leftover(
            kind,
            folder,
            tuple(path for path, _ in found),
            sum(status.st_size for _, status in found),
            max(status.st_mtime for _, status in found),
        )
        for folder, found in groups.items()
    ]


def _look(files: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in files:
        with suppress(FileNotFoundError):
            yield path, path.lstat()
