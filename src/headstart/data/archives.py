"""Refuses archives whose members could land outside the folder that they are extracted to.

torchvision downloads and extracts its sets itself; every extraction looks its extractor up in one table, so that is
where each archive is checked, whole, before its first member is written. A compressed tar is read twice for it, which
is little beside its download. Python's own ``data`` filter, which torchvision asks for where it can, is no
replacement: it strips the slash of an absolute path, lets links through that stay inside, and stops half-way; and
`zipfile` renames what it should refuse.
"""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from headstart.data.filenames import escape_name
from headstart.data.torchvision_internals import archive_extractors
from headstart.errors import UserError

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


@contextmanager
def check_before_extracting() -> Iterator[None]:
    """Inside, whatever torchvision extracts is checked first; UserError names the archive and the member."""
    table = archive_extractors()
    before = dict(table)
    table.update({kind: _checked(CHECKS[kind], extract) for kind, extract in before.items()})
    try:
        yield
    finally:
        table.update(before)


def _checked(check: Callable[[Any], None], extract: Callable[..., None]) -> Callable[..., None]:
    def extract_checked(archive: Any, *args: Any, **kwargs: Any) -> None:
        try:
            check(archive)
            extract(archive, *args, **kwargs)
        except DAMAGE as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise UserError(
                f"{archive} is damaged ({type(error).__name__}: {reason}): remove it, and it is downloaded again"
            ) from error

    return extract_checked


def check_tar(archive: str | Path) -> None:
    """Raise UserError at the first member of a tar file, however compressed, that is not a plain file or folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _check_name(archive, member.name)
            if member.issym() or member.islnk():
                _refuse(archive, member.name, f"is a link to {escape_name(member.linkname)}")
            if not (member.isreg() or member.isdir()):
                _refuse(archive, member.name, "is neither a file nor a folder")


def check_zip(archive: str | Path) -> None:
    """Raise UserError at the first member of a zip file that is not a plain file or folder."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            _check_name(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)  # the Unix mode, 0 where the file was not made on Unix
            if kind == stat.S_IFLNK:
                _refuse(archive, member.filename, "is a link")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                _refuse(archive, member.filename, "is neither a file nor a folder")


CHECKS = {".tar": check_tar, ".zip": check_zip}


def _check_name(archive: str | Path, name: str) -> None:
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match("[A-Za-z]:", path):
        _refuse(archive, name, "has an absolute path")
    if ".." in PurePosixPath(path).parts:
        _refuse(archive, name, "leads out of the folder by ..")


def _refuse(archive: str | Path, member: str, problem: str) -> None:
    raise UserError(
        f"{archive} is not extracted: its member '{escape_name(member)}' {problem}, and could be written outside the "
        "folder; remove the archive, and fetch it again from the makers of the set"
    )
