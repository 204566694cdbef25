"""Go through folders of images; what is not used on the way is counted, and named in one warning."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.filenames import escape_name
from headstart.data.formats import is_image

log = logging.getLogger(__name__)

SHOWN = 3  # names of each kind
# Folders that systems and programs leave beside a person's images: parts of zip archives, thumbnails, waste baskets.
SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
SYSTEM_FILES = {".ds_store", "thumbs.db", "desktop.ini", ".directory", ".gitkeep", ".gitignore", ".nomedia"}


@dataclass
class Folder:
    """What stands directly in one folder, sorted by name."""

    path: Path
    folders: list[Path] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # paths
    unused: list[str] = field(default_factory=list)  # paths of other files, and of hidden files and folders


def scan(path: str | Path) -> Folder:
    """List a folder, without its subfolders' content; raises OSError if it cannot be read."""
    found = Folder(Path(path))
    with os.scandir(path) as entries:  # making a Path of each of 200,000 files would take seconds
        for entry in entries:
            link, name = entry.is_symlink(), entry.name.lower()
            if os.path.isdir(entry.path) if link else entry.is_dir():  # noqa: PTH112
                if name.startswith(".") or name in SYSTEM_FOLDERS:
                    found.unused.append(entry.path)
                else:
                    found.folders.append(Path(entry.path))
            elif name not in SYSTEM_FILES:
                usable = is_image(name) and not name.startswith(".")
                (found.images if usable else found.unused).append(entry.path)
    for paths in (found.folders, found.images, found.unused):
        paths.sort()
    return found


class Unused:
    """Counts what lies below a data set's root and is not used, by kind, with the first names of each kind."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def count(self, paths: Iterable[str]) -> None:
        """Count files that are no images, and hidden files and folders."""
        for path in paths:
            self.add(_describe_kind(path), path)

    def add(self, kind: str, *paths: str | Path) -> None:
        """Count paths that are not used, under the words that say what they are and why."""
        for path in paths:
            self._counts[kind] += 1
            names = self._names.setdefault(kind, [])
            if len(names) < SHOWN:
                names.append(escape_name(os.path.relpath(path, self._root)))

    def __str__(self) -> str:
        """The kinds, their counts and first names: one line each, after a line break."""
        return "".join(
            f"\n    {kind}: {n} ({', '.join(self._names[kind])}{', …' * (n > SHOWN)})"
            for kind, n in sorted(self._counts.items())
        )

    def warn(self) -> None:
        """Warn once of all that was counted, if there is anything."""
        if self._counts:
            log.warning("%s: these are not used:%s", escape_name(str(self._root)), self)


def _describe_kind(path: str) -> str:
    name = os.path.basename(path)  # noqa: PTH119 a Path of each of 200,000 files is slow
    if os.path.isdir(path):  # noqa: PTH112
        return "folders that are hidden or made by the system"
    if name.startswith("."):
        return "hidden files"
    ending = escape_name(os.path.splitext(name)[1].lower())  # noqa: PTH122
    return f"{ending} files, which are not read as images here" if ending else "files without an ending"


def find_images(folder: Path, unused: Unused) -> list[str]:
    """Find the images of a folder at any depth; links are followed, but no folder is read twice."""
    found, unread, seen, root = [], [str(folder)], set(), folder.resolve()
    while unread:
        current = unread.pop()
        status = os.stat(current)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        content = scan(current)
        found += content.images
        unused.count(content.unused)
        for path in reversed(content.folders):  # so that folders are read in the order of their names
            # a link back to a folder above would bring in other classes
            if not (path.is_symlink() and root.is_relative_to(path.resolve())):
                unread.append(str(path))
    return found
