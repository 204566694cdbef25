"""Read what a run says of itself, `state.json` and `result.json`; a damaged file is told in words, never taken as none.

`rerun=true` removes both files, so it is what every message here proposes.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.errors import UserError

RERUN = "rerun=true runs this run again from its start"
# The types that keys of `state.json` have, if they are there.
STATE = {"status": str, "attempts": int, "done": list}


class Result(dict[str, Any]):
    """The content of a completed run's `result.json`, and its folder."""

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        super().__init__(values)
        self.folder = folder
        self.skipped = False  # whether the run was complete when it was asked for

    def read_accuracy(self, part: str) -> float:
        """The accuracy on the part `test` or `val`, from 0 to 1.

        Raises:
            UserError: there is no such number.
        """
        with suppress(LookupError, TypeError):
            return float(self[part]["accuracy"] + 0.0)
        raise make_damage_error(self.folder / "result.json", f"it has no number {part}.accuracy")


def read_result(folder: Path) -> Result | None:
    """Read the `result.json` of a completed run; None if the run is not complete.

    Raises:
        UserError: the file cannot be read, or is not what a run writes.
    """
    result = _read_object(folder / "result.json")
    if result is None:
        return None
    if not isinstance(result.get("status"), str):
        raise make_damage_error(folder / "result.json", "it has no status")
    return Result(result, folder) if result["status"] == "completed" else None


def is_completed(folder: Path) -> bool:
    """Whether a run is complete; not if its `result.json` is damaged."""
    with suppress(UserError):
        return read_result(folder) is not None
    return False


def read_state(folder: Path) -> dict[str, Any]:
    """Read the `state.json` of a run; empty if there is none.

    Raises:
        UserError: the file cannot be read, or is not what a run writes.
    """
    path = folder / "state.json"
    state = _read_object(path) or {}
    for key, kind in STATE.items():
        if key in state and not isinstance(state[key], kind):
            raise make_damage_error(path, f"{key} is {state[key]!r}")
    if not all(isinstance(record, dict) for record in state.get("done", [])):
        raise make_damage_error(path, "done holds something else than the records of phases")
    return state


def make_damage_error(path: Path, reason: str | Exception) -> UserError:
    """Make the error for a file in a run's folder that cannot be used."""
    if isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}".partition("\n")[0]
    return UserError(f"{path} is damaged, or of another version of headstart ({reason}): {RERUN}")


def _read_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise make_damage_error(path, error) from error
    if not isinstance(content, dict):
        raise make_damage_error(path, "it is no JSON object")
    return content
