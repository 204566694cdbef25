"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path


def expand_home(path: str) -> str:
    """Put the home folder in place of `~` at the start of a path; `~` and a name without a home folder stay."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises where there is no such home folder


def make_path(path: str | Path) -> Path:
    """The path that somebody typed, with the home folder in place of `~`."""
    return Path(expand_home(str(path)))
