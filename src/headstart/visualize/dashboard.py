"""Pictures of a run go where the run logs: to its W&B run, under `visualize/<subject>`."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.predict.run import read_config
from headstart.storage.records import read_result
from headstart.storage.redact import mask
from headstart.tracking import wandb_pictures
from headstart.tracking.tracker import About
from headstart.tracking.wandb_reach import is_switched_off
from headstart.tracking.wandb_recordings import find_recordings

log = logging.getLogger(__name__)


def send_pictures(folder: Path, subject: str, paths: Sequence[Path]) -> None:
    """Add the pictures and pages among `paths` to the W&B run of the completed run in `folder`, if it logged there.

    `<subject>.png` is `visualize/<subject>`; another file is `visualize/<subject>/<file>`. A run that waits for
    `wandb sync` gets another offline segment. Trouble with W&B costs one warning.
    """
    config, pictures = read_config(folder), [path for path in paths if path.suffix in wandb_pictures.MEDIA]
    segments = find_recordings(folder)
    result = read_result(folder)
    if not config.logger.wandb or is_switched_off() or not pictures or not segments or result is None:
        return
    try:
        recorded = wandb_pictures.read_segments(segments)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("%s: cannot be read (%s), so W&B gets no pictures", folder / "wandb", type(error).__name__)
        return
    study, name = str(result["study"]), str(result["run"])
    run_id = str(result.get("wandb_id") or f"{study}-{name.rpartition('-')[2]}")  # earlier versions had no other
    tags = mask(list(config.logger.tags))
    about = About(run_id, name, study, config.strategy.name, recorded.config, tags)
    wandb_pictures.add_pictures(
        folder,
        replace(config.logger, mode="offline") if recorded.waiting else config.logger,
        about,
        recorded=recorded,
        pictures={f"visualize/{subject}{_name_file(subject, path)}": path for path in pictures},
    )


def _name_file(subject: str, path: Path) -> str:
    """The part of a key that names a file; W&B takes a dot for a level of the summary."""
    if path.name == f"{subject}.png":
        return ""
    name = path.stem if path.suffix == ".png" else path.name
    return f"/{name.replace('.', '_')}"
