"""What the words for images mean: files, folders, patterns, and `-` for a list of paths on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from headstart.config.paths import expand_home
from headstart.data.filenames import escape_name
from headstart.data.walk import Unused, find_images
from headstart.errors import UserError


def list_images(words: Sequence[str]) -> list[str]:
    """The paths of the images that the words name, in their order; of a folder, those at any depth.

    A path that does not exist is among them: it is named when it is read, and the others go on.

    Raises:
        UserError: a pattern or a folder has no image, or there is none at all.
    """
    found = list(_expand(words))
    if not found:
        raise UserError("no image found: standard input has no path")
    return found


def _expand(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            lines = sys.stdin.buffer.read().splitlines()
            yield from _expand(os.fsdecode(line) for line in lines if line.strip() and line.strip() != b"-")
            continue
        path = expand_home(word)  # no Path, which would change the name under which the answer stands
        if os.path.isdir(path):  # noqa: PTH112
            yield from _list_folder(Path(path))
        elif glob.has_magic(path) and not os.path.lexists(path):
            matching = [each for each in sorted(glob.glob(path, recursive=True)) if os.path.isfile(each)]  # noqa: PTH113, PTH207
            if not matching:
                raise UserError(f"{escape_name(word)}: no image found: no file has such a name")
            yield from matching
        else:
            yield path


def _list_folder(folder: Path) -> list[str]:
    unused = Unused(folder)
    try:
        found = find_images(folder, unused)
    except OSError as error:
        where = escape_name(str(error.filename or folder))
        raise UserError(f"{where}: this folder cannot be read: {error.strerror}") from error
    if not found:
        rest = f"; these are not used:{unused}" if str(unused) else ""
        raise UserError(f"{escape_name(str(folder))}: no image found in this folder or below it{rest}")
    unused.warn()
    return found
