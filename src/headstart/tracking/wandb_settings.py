"""How W&B is set up for a run, and how long it is waited for, in seconds."""

from __future__ import annotations

from typing import Any

from headstart.tracking import wandb_internals
from headstart.tracking.tracker import State

KEPT = "The run goes on; metrics are in metrics.csv"
INIT_SECONDS = 60.0  # for the server to accept the run, while training goes on; after that it is recorded offline
LOCAL_SECONDS = 20.0  # for W&B's own process to write an offline run, which depends on this machine alone
CLOSE_SECONDS = 4.5  # what a run may wait for W&B's server at its end ...
UPLOAD_SECONDS = 60.0  # ... unless the server answers: then as long as the upload takes, up to this
FLUSH_SECONDS = 1.5  # what an unreachable server is waited for: W&B's process writes its file every second
MUTE_SECONDS = 15.0  # from the start, while training goes on: a server that has not answered by then is left
PATIENCE_AT_OPEN = 4.0  # from the start, in which a server must have answered once, or it counts as mute
# As W&B's own commands end: 255 is shown as killed. What a search has stopped early is no failure.
EXIT_CODES: dict[State, int] = {"completed": 0, "pruned": 0, "failed": 1, "stopped": 255}

# Quiet, and no look at console, git, machine, packages or command line: slow, and arguments may hold secrets.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "label_disable": True,
    "init_timeout": INIT_SECONDS,
    "finish_timeout": UPLOAD_SECONDS,
    "finish_timeout_raises": True,  # else a run that was cut short would count as uploaded
    "use_dot_wandb": False,
    **wandb_internals.SETTINGS,
}
