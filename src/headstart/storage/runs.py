"""A run on disk: its identity, its folder, its lock, and its state.

`outputs/<study>/<model>-<strategy>-<data>-s<seed>-<hash>/`; `result.json` with `"status": "completed"`, written
last, is completion.
"""

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import RunFailed, UserError
from headstart.runtime.signals import Stopped
from headstart.storage import locks
from headstart.storage.files import LogFile, write_text
from headstart.storage.redact import Formatter, mask

log = logging.getLogger(__name__)

LOCK = ".lock"
# What cannot change a result has no part in the identity.
IRRELEVANT = (
    "study",
    "output_dir",
    "cache_dir",
    "rerun",
    "checkpoint_every",
    "figures",
    "head",  # what of it a strategy uses stands in the strategy
    "logger",
    "hardware.workers",
    "features.storage",
    "hardware.tune",  # what it picked counts
    "hardware.allow_bf16",
    "data.storage",
)


def identity(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """Eight hex digits of a digest of the resolved config, less what cannot change its result, and of `digests`.

    The order of keys has no part in it, but for the order of a strategy's phases and rates, which is its meaning.

    Args:
        digests: of the content of data and weights: other images under the same path are another run.
    """
    kept = _without(config, IRRELEVANT) | {"digests": dict(digests)}
    kept["strategy"]["phases"] = [
        [phase, node | {"rates": list(node["rates"].items())}] for phase, node in kept["strategy"]["phases"].items()
    ]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _without(node: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{prefix}{key}" not in keys
    }


def name(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """The folder's name: what a person looks for first, the identity last."""
    parts = [
        config["model"]["name"],
        config["strategy"]["name"],
        config["data"]["name"],
        f"s{config['seed']}",
    ]
    safe = ["".join(char if char.isalnum() or char in "._" else "_" for char in str(part)) for part in parts]
    return "-".join([*safe, identity(config, digests)])


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; infinities and NaN become null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value


class Result(dict[str, Any]):
    """What the `result.json` of a completed run holds, and where it lies."""

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        super().__init__(values)
        self.folder = folder


def read_result(folder: Path) -> Result | None:
    """The `result.json` of a completed run, else None."""
    try:
        result = json.loads((folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    completed = isinstance(result, dict) and result.get("status") == "completed"
    return Result(result, folder) if completed else None


@dataclass(frozen=True)
class Run:
    """The folder of a run that this process holds."""

    folder: Path
    name: str
    study: str
    hash: str
    leads: bool = True  # whether this process writes: of several, the first alone does
    lock: int | None = None  # the descriptor that holds the lock; None for a lease, and in a rank
    claim: str | None = None  # of a lease; None for a lock that cannot be lost

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def id(self) -> str:
        """The W&B id: known before the fit, and the same whenever this run is started again."""
        return f"{self.study}-{self.hash}"

    def completed(self) -> Result | None:
        """The result if the run is complete, else None."""
        return read_result(self.folder)

    def begin(self, config: Mapping[str, Any], overrides: Sequence[str], fresh: bool) -> None:
        """Write what the run is asked to do; `fresh` starts over, else an attempt that was cut off goes on."""
        from omegaconf import OmegaConf

        for place in (self.folder, self.folder / "figures", self.checkpoints, *self.checkpoints.glob("*/")):
            for half_written in place.glob(".*"):
                if half_written.is_file() and half_written.name != LOCK:
                    half_written.unlink()
        before = self.read_state()
        if fresh or before.get("status") == "completed":
            for name in ("result.json", "state.json", "predictions.csv", "metrics.csv", "probe.safetensors"):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            before = {}
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(mask(dict(config)))))
        write_text(self.folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(mask(list(overrides)))))
        self.state(status="running", error=None, attempts=before.get("attempts", 0) + 1)

    def read_state(self) -> dict[str, Any]:
        """What `state.json` says; empty where there is none."""
        try:
            state = json.loads((self.folder / "state.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def state(self, **facts: Any) -> None:
        """Add to `state.json` where the run is: status, phase, its index, and the records of the phases done.

        Raises:
            RunFailed: another process has taken the run over.
        """
        if self.leads:
            locks.raise_if_lost(self.folder / LOCK, self.claim)
            write_json(self.folder / "state.json", self.read_state() | facts)

    def complete(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run a completed one.

        Raises:
            RunFailed: another process has taken the run over; its result counts.
        """
        locks.raise_if_lost(self.folder / LOCK, self.claim)
        write_json(self.folder / "result.json", result)
        self.state(status="completed")


@contextmanager
def lock_run(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> Iterator[Run]:
    """Lock and make the folder of the run that a resolved config describes; log to its `train.log` meanwhile.

    Raises:
        UserError: another process holds it (pid and host are named), or the folder cannot be written.
    """
    title = name(config, digests)
    folder = Path(config["output_dir"]) / config["study"] / title
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir: cannot make {folder}: {error.strerror or error}") from error
    with locks.hold(folder / LOCK) as lock, log_to_file(folder / "train.log") as handler:
        hash_ = title.rpartition("-")[2]
        run = Run(folder, title, config["study"], hash_, lock=lock.descriptor, claim=lock.claim)
        try:
            yield run
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt | Stopped) else "failed"
            reason = mask(f"{type(error).__name__}: {error}")
            trace = sys.exc_info() if status == "failed" else None
            with suppress(RunFailed, OSError):  # on a full disk, what went wrong first is what has to be told
                handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, reason, (), trace))
                run.state(status=status, error=reason)
            raise


@contextmanager
def log_to_file(path: Path) -> Iterator[logging.Handler]:
    """Write what is logged meanwhile to the end of a file too."""
    handler = LogFile(path)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()
