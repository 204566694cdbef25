"""Names that a run gives to folders and to W&B, and what is wrong with those that cannot be used."""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headstart.config.schema import LoggerConfig, RunConfig

LONGEST_FOLDER = 255  # bytes that file systems allow for one name
LONGEST_TAG = 64  # characters that W&B allows
LONGEST_PROJECT = 128
NOT_IN_PROJECT = "/\\#?%:"
TRACKERS = ("tensorboard", "mlflow", "trackio")


def find_name_problems(config: RunConfig) -> Iterator[str]:
    """Find names that cannot be a folder's name, and names that W&B would refuse when the run starts."""
    for key, text in (
        ("study", config.study),
        ("strategy.name", config.strategy.name),
        ("data.name", config.data.name),
    ):
        if not re.fullmatch(r"[\w.+@-]+", text) or text.startswith("."):
            yield f"{key}={text!r}: is part of a folder's name, so use letters, digits, _ and - only"
    if (size := len(os.fsencode(config.study))) > LONGEST_FOLDER:
        yield f"study={config.study}: is a folder's name, and so has at most {LONGEST_FOLDER} bytes; this has {size}"
    parts = (config.model.name, config.strategy.name, config.data.name, f"s{config.seed}", "12345678")
    if (size := len(os.fsencode("-".join(parts)))) > LONGEST_FOLDER:
        yield (
            f"strategy.name and data.name are parts of the run's folder, whose name would have {size} bytes; "
            f"{LONGEST_FOLDER} are possible: shorten them"
        )
    for key in ("output_dir", "cache_dir"):
        path = getattr(config, key) or ""
        if getattr(config, key) == "":
            yield f"{key}=: must be a folder, such as {key}=. for the current one"
        if path.startswith("~"):
            yield f"{key}={path}: there is no home folder of {Path(path).parts[0]}"
    if config.logger.wandb:
        yield from _wandb_problems(config.logger)
    if config.prune != "none" and find_spec("optuna") is None:
        yield f"prune={config.prune}: Optuna is not installed: pip install 'headstart[search]'"
    for tracker in TRACKERS:
        if getattr(config.logger, tracker) and find_spec(tracker) is None:
            yield f"logger={tracker}: its package is not installed: pip install 'headstart[{tracker}]'"


def _wandb_problems(logger: LoggerConfig) -> Iterator[str]:
    for tag in logger.tags:
        if not 1 <= len(tag) <= LONGEST_TAG:
            yield f"logger.tags: {tag!r} has {len(tag)} characters; W&B takes tags of 1 to {LONGEST_TAG}"
    project = logger.project
    if not 1 <= len(project) <= LONGEST_PROJECT:
        yield f"logger.project={project}: has {len(project)} characters; W&B takes 1 to {LONGEST_PROJECT}"
    elif bad := [char for char in NOT_IN_PROJECT if char in project]:
        hint = ""
        if bad == ["/"] and project.count("/") == 1:
            entity, _, name = project.partition("/")
            hint = f"; for the project of a team: logger.entity={entity} logger.project={name}"
        yield f"logger.project={project}: W&B takes no {' '.join(bad)} in it{hint}"
