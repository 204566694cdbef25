"""Add pictures to a W&B run that has ended: to its summary, so that its curves stay as they are.

An online run is resumed, and W&B keeps what it has. Offline there is nothing to resume: another segment of the run is
recorded, and `wandb sync` replaces config and summary by those of the last segment. So it repeats what the earlier ones
say, and records no step: steps are numbered from 0 in each segment, and would replace the run's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.tracking.tracker import About, LoggerSettings
from headstart.tracking.wandb_recordings import is_uploaded
from headstart.tracking.wandb_run import WandbRun

INSPECT = (sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json")
START_SECONDS = 30.0  # for W&B's process, which starts only now
MEDIA = (".png", ".webp", ".html")  # what W&B can show: pictures, animations, pages
OF_SEGMENT = ("_runtime", "_wandb")  # what W&B itself writes into the summary of each segment


@dataclass(frozen=True)
class Recorded:
    """What the segments of a run on this machine say: the last config, the last summary, and whether all are uploaded.

    `waiting`: a segment was recorded offline, and no `wandb sync` has uploaded it.
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    waiting: bool


def read_segments(segments: Sequence[Path]) -> Recorded:
    """Read what the segments say with W&B's own reader.

    Raises:
        OSError, ValueError, subprocess.SubprocessError: one cannot be read.
    """
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for path in segments:
        told = json.loads(subprocess.run([*INSPECT, path], capture_output=True, check=True, timeout=60).stdout)
        config |= told.get("config") or {}
        summary |= told.get("summary") or {}
    offline = [path for path in segments if path.parent.name.startswith("offline-")]
    waiting = not all(map(is_uploaded, offline))
    for key in OF_SEGMENT:
        config.pop(key, None)
        summary.pop(key, None)
    return Recorded(config, summary, waiting)


def add_pictures(
    folder: Path,
    settings: LoggerSettings,
    about: About,
    *,
    recorded: Recorded,
    pictures: Mapping[str, Path],
) -> None:
    """Add files that end as in `MEDIA` to the run in `folder`, by their names on W&B; trouble costs one warning.

    Args:
        about: the run, as it began. Its curves get their axes again, which W&B forgets when a run is resumed.
    """
    run = WandbRun(folder, settings, about, resume=True, kept="The pictures are in the run's folder")
    run.send(_update_summary(recorded.summary, pictures))
    run.close("completed", START_SECONDS)


def _update_summary(summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> Callable[[Any], None]:
    def call(run: Any) -> None:
        import wandb

        shown = {
            name: wandb.Html(str(path), inject=False) if path.suffix == ".html" else wandb.Image(str(path))
            for name, path in pictures.items()
        }
        run.summary.update({**(summary if run.offline else {}), **shown})

    return call
