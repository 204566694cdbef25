"""What W&B finds around a run: the environment that it looks at, and the account with which it talks to its server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headstart.tracking import wandb_internals


def prepare_environment(place: Path, *, data_too: bool) -> None:
    """Keep W&B's files in the run's folder, its process our own, and its error reports at home."""
    if data_too:  # the pictures of tables; W&B's own choice is the home folder
        os.environ["WANDB_DATA_DIR"] = str(place)
    try:
        Path(os.environ["HOME"], ".cache").mkdir(exist_ok=True)
    except (KeyError, OSError):  # W&B's process would log to the console
        os.environ.setdefault("WANDB_CACHE_DIR", str(place / "cache"))
    wandb_internals.forget_inherited_service()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def read_known_settings(wandb: Any) -> Any:
    """W&B's settings from the environment, the folder (`wandb offline`, `wandb disabled`) and the account."""
    return wandb.setup(wandb.Settings(silent=True)).settings


def log_in(wandb: Any, mode: str) -> tuple[bool, tuple[str, object] | None]:
    """Say whether to talk to the server: never without a key, so that W&B has nothing to ask for.

    Returns also what is wrong, and why, if the user wants to be online and cannot.
    """
    others = wandb.run  # a run that the user has opened; while it lasts, `wandb.login` does nothing
    if others is not None:
        return not (others.offline or others.disabled), None
    try:
        online = bool(wandb.login(prompt=False, verify=False))
    except Exception as error:
        return False, ("W&B does not accept the API key", error)
    if not online and mode == "online":
        return False, ("W&B has no API key", "set WANDB_API_KEY or call wandb login")
    return online, None
