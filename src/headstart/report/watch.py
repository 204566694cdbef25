"""Keep a study's page current while its runs are made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.report.study.read import run_folders

SECONDS = 5.0  # between two looks
FILES = ("result.json", "state.json")

Fingerprint = tuple[tuple[str, int], ...]


def take_fingerprint(folders: Sequence[Path]) -> Fingerprint:
    """What changes when a run of these studies begins, completes or fails."""
    found = []
    for study in folders:
        for run in run_folders(study):
            for name in FILES:
                try:
                    found.append((f"{study.name}/{run.name}/{name}", (run / name).stat().st_mtime_ns))
                except OSError:
                    continue  # not there yet, or being replaced
    return tuple(found)


def watch(folders: Sequence[Path], write: Callable[[str], None], wait: Callable[[float], object] = time.sleep) -> None:
    """Call `write` with a stamp of its own now and whenever a run has changed, until Ctrl-C; then once more without."""
    seen: Fingerprint | None = None
    try:
        while True:
            now = take_fingerprint(folders)
            if now != seen:
                write(f"{time.time_ns():x}")
                seen = now
            wait(SECONDS)
    except KeyboardInterrupt:
        write("")
