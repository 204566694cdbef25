"""The files in which W&B records a run on this machine, and which of them were uploaded to their end."""

from pathlib import Path
from typing import Any

SYNCED = ".wandb.synced"  # the mark that `wandb sync` leaves beside what it has uploaded


def find_recordings(folder: Path) -> list[Path]:
    """The files in which W&B recorded a run in `folder`/wandb, the earliest first; their folders' names have the time.

    One for each attempt, which is of the whole run, then one for each time that pictures were added.
    """
    found = [path for path in folder.glob("wandb/*run-*/*.wandb") if not path.parent.is_symlink()]
    return sorted(found, key=lambda path: path.parent.name.removeprefix("offline-"))


def find_waiting(folder: Path) -> list[Path]:
    """Of a run's recordings, those that are later than the last that was uploaded, which earlier ones would replace.

    Sweeps of W&B's own may have recorded it under other ids too; these replace nothing of one another.
    """
    found = find_recordings(folder)
    latest = {recording.name: place for place, recording in enumerate(found) if is_uploaded(recording)}
    return [recording for place, recording in enumerate(found) if place > latest.get(recording.name, -1)]


def mark_uploaded(run: Any) -> None:
    """Note beside a run's recording that it was uploaded to its end, as `wandb sync` does for what it uploads."""
    folder = Path(run.settings.sync_dir)
    for path in folder.glob("*.wandb"):
        path.with_suffix(SYNCED).touch()


def is_uploaded(recording: Path) -> bool:
    """Whether a recording was uploaded to its end."""
    return recording.with_suffix(SYNCED).exists()
