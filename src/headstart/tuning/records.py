"""The files of `hardware.tune`: timings per machine, and the pins (the chosen settings) of a study."""

import hashlib
import json
import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from headstart.errors import RunFailed
from headstart.runtime import hardware
from headstart.storage.files import write_json
from headstart.storage.redact import mask
from headstart.tuning.timing import Setting, Timing, TrialSetup

log = logging.getLogger(__name__)


PINS, LOCK = ".tune.json", ".tune.lock"


class TimingFile:
    """The file of the timings of one network at one size on this machine; a failed setting is not stored."""

    def __init__(self, setup: TrialSetup, cache: Path | None, folder: str = "tune") -> None:
        import timm

        facts = hardware.describe(setup.hardware)
        self.key = setup.network | {
            **{name: facts[name] for name in ("accelerator", "device", "devices", "cores", "threads")},
            "versions": [torch.__version__, timm.__version__, version("headstart")],
            "optimizer": setup.optimizer.get("_target_"),
            "image_size": setup.image_size,
            "batch_size": setup.batch_size,
            "limit": setup.hardware.threads,
        }
        self.path = None if cache is None else cache / folder / f"{digest_key(self.key)}.json"

    def read(self) -> dict[Setting, Timing]:
        """Read the stored timings; a damaged file counts as empty."""
        if self.path is None or not self.path.is_file():
            return {}
        try:
            rows = json.loads(self.path.read_text("utf-8"))["times"]
            found = {Setting(**row["setting"]): Timing(float(row["seconds"]), float(row["starting"])) for row in rows}
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is damaged and is not used; its settings are measured again", self.path)
            return {}
        return found

    def write(self, times: dict[Setting, Timing]) -> None:
        """Store timings; if they cannot be written, a warning is logged and the run goes on."""
        rows = [
            {"setting": asdict(setting), "seconds": timing.seconds, "starting": timing.starting}
            for setting, timing in times.items()
            if timing.seconds is not None
        ]
        if self.path is None:
            return
        try:
            write_json(self.path, {"key": mask(self.key), "times": rows})
        except RunFailed as error:
            log.warning("times of steps: %s; the run goes on without", error)


def digest_key(key: dict[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_pins(path: Path, level: int = logging.WARNING) -> dict[str, Any]:
    """Read the study's pins; none if there is no file or it is damaged, which is logged at this level."""
    try:
        pins = json.loads(path.read_text("utf-8"))
        for pin in pins.values():
            Setting(**pin["setting"]), pin["steps"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.log(level, "%s is damaged and is not used; the settings are measured again", path)
        return {}
    return dict(pins)
