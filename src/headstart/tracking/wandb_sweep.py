"""A run that a sweep of W&B's own has started (`wandb agent`): its parameters as overrides, and its id there.

The agent writes the parameters to a file, and as Python's text among the arguments: `None`, `{'lr': 0.1}`. A run that
was preempted comes back with its whole config in place of its parameters (wandb #4237, #9143), under the names that
dashboards have for settings. So each run records the names of its parameters, and only these are read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError
from headstart.tracking import wandb_internals

if TYPE_CHECKING:
    from headstart.config.schema import LoggerConfig

SWEEP_ID, RUN_ID, FILE = "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"  # variables that the agent sets
NAMES = "sweep_parameters"  # of a run's config in W&B
OWN = "_wandb"  # what W&B itself keeps in a run's config
SEVERAL = ("-m", "--multirun", "--sweep", "hydra.mode=MULTIRUN")


def find_run_id() -> str | None:
    """The id that W&B's server has given to this run; None if no agent has started it."""
    return os.environ.get(RUN_ID) if os.environ.get(SWEEP_ID) else None


def describe_parameters() -> dict[str, str]:
    """What the run's config in W&B says of its sweep: the names of the parameters."""
    return {NAMES: " ".join(_read_parameters())} if find_run_id() else {}


def mark_if_preempted(run: Any, state: str) -> None:
    """Have the sweep give a run that a signal has stopped to the next agent.

    Not one that W&B itself has stopped, for somebody who clicked on it or by the sweep's early termination.
    """
    if state == "stopped" and find_run_id() and not wandb_internals.is_stopped(run):
        run.mark_preempting()


def leave_others_out(settings: LoggerConfig) -> LoggerConfig:
    """The settings of a logger that records in W&B alone."""
    return replace(settings, tensorboard=False, mlflow=False, trackio=False)


def read_arguments(words: Sequence[str]) -> list[str]:
    """Replace the agent's arguments in a command by overrides as Hydra reads them.

    Of a run that comes back, W&B's own process is also given the parameters alone, so that its config stays what this
    attempt says.

    Raises:
        UserError: the command is a sweep of its own.
    """
    if find_run_id() is None or not (given := _read_file()):
        return list(words)
    if several := next((word for word in words if word.partition("=")[0] in SEVERAL or word in SEVERAL), None):
        raise UserError(
            f"{several}: W&B's agent starts one run at a time, and records it as one: leave it out of the command of "
            "the sweep"
        )
    parameters = _read_parameters()
    if len(parameters) < len(given):
        _write_file(parameters)
    written = [f"{name}={value}" for name, value in given.items()]
    plain = [word.lstrip("+").removeprefix("--") for word in words]  # of the agent's macros, some write --key=value
    starts = [start for start in range(len(words)) if plain[start : start + len(written)] == written]
    if not starts:  # a script of the user's own stands between
        return list(words)
    start, end = starts[-1], starts[-1] + len(written)
    sign = words[start][: len(words[start]) - len(words[start].lstrip("+"))]
    overrides = [each for name, value in parameters.items() for each in _write_overrides(name, value)]
    return [*words[:start], *(sign + override for override in overrides), *words[end:]]


def _read_parameters() -> dict[str, Any]:
    """The parameters of this run, by name: of a run that comes back, those of the names that it has recorded."""
    given = _read_file()
    names = given.get(NAMES)
    known = given if names is None else str(names).split()
    return {name: given[name] for name in known if name in given and name not in (OWN, NAMES)}


def _read_file() -> dict[str, Any]:
    """What the agent wrote for this run: `name: {value: …}`; empty if it wrote nothing that can be read."""
    import yaml

    try:
        content = yaml.safe_load(Path(os.environ.get(FILE, "")).read_text("utf-8"))
        return {str(name): node["value"] for name, node in content.items() if name != "wandb_version"}
    except (OSError, ValueError, AttributeError, LookupError, TypeError, yaml.YAMLError):
        return {}


def _write_file(parameters: Mapping[str, Any]) -> None:
    """Write the parameters alone beside the agent's file, and name that file to W&B."""
    import yaml

    path = Path(os.environ[FILE])
    path = path.with_name(f"parameters-{path.name}")
    nodes = {name: {"value": value} for name, value in parameters.items()}
    path.write_text(yaml.safe_dump({"wandb_version": 1} | nodes, sort_keys=False), "utf-8")
    os.environ[FILE] = str(path)


def _write_overrides(name: str, value: Any) -> Iterator[str]:
    """Write a parameter as overrides; W&B's nested parameters are a mapping, whose keys follow the name."""
    if isinstance(value, Mapping) and value and "." not in name:
        for key, inner in value.items():
            yield f"{name}.{key}={_write_value(inner)}"
    else:
        yield f"{name}={_write_value(value)}"


def _write_value(value: Any) -> str:
    """Write a value as Hydra reads it; text stays as the sweep has it, as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_write_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_write_value, value))}]"
    return str(value)
