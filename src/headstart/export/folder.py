"""A folder that is written completely or not at all; one with anything else in it is never replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import RunFailed, UserError
from headstart.predict.exported import MARK
from headstart.storage.files import UMASK, make_write_error, name_part, refuse_link

NAMES = (  # what an export may hold
    *("README.md", "config.json", "model.safetensors"),
    *("model.onnx", "network.onnx", "model.int8.onnx"),
    *("app.py", "requirements.txt"),
)
SHOWN = 3  # names of other files


def check_target(target: Path, run: Path) -> None:
    """Raise UserError if the folder cannot become an export: it holds other files, or lies inside the run."""
    refuse_link(target)
    if target.resolve().is_relative_to(run.resolve()):
        raise UserError(f"{target} lies in the run's folder, which stays as it is: name another folder")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: name a folder that is empty or not there yet")
    there = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if not there:
        return
    others = [name for name in there if name not in NAMES]
    if others or not is_export(target):
        what = ", ".join((others or there)[:SHOWN]) + ", …" * (len(others or there) > SHOWN)
        raise UserError(
            f"{target} is not empty ({what}), and an export replaces the whole folder: name a folder that is empty, "
            "or not there yet, or an earlier export with nothing else in it"
        )


def is_export(folder: Path) -> bool:
    """Whether a folder holds what `headstart export` wrote."""
    try:
        return MARK in json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def write_folder(target: Path, run: Path) -> Iterator[Path]:
    """Yield a new folder; it takes the place of `target` when the context ends without an error.

    Raises:
        RunFailed: it cannot be written; what was at `target` stays.
    """
    check_target(target, run)
    target = target.absolute()
    part = name_part(target)
    try:
        part.mkdir(parents=True)
        yield part
        for path in part.iterdir():
            path.chmod(0o666 & ~UMASK)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        check_target(target, run)
        _put(part, target)
    except OSError as error:
        size = sum(path.stat().st_size for path in part.glob("*")) if part.is_dir() else 0
        raise make_write_error(target, size, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, target: Path) -> None:
    """Rename the new folder to its place; an earlier export goes only when the new one is there."""
    old = part.with_name(f"{part.name}.old")
    if target.is_dir():
        target.rename(old)
    try:
        part.rename(target)
    except OSError:
        with suppress(OSError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def list_files(folder: Path, names: Collection[str] = NAMES) -> list[Path]:
    """The files of an export, sorted by name.

    Raises:
        RunFailed: there is something in the folder that no export has.
    """
    found = sorted(folder.iterdir())
    if foreign := [path.name for path in found if path.name not in names]:
        raise RunFailed(f"{folder}: {', '.join(foreign)} does not belong to an export")
    return found
