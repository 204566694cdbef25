"""A run on disk: its identity, its folder, its lock, and its state.

The folder is `outputs/<study>/<model>-<strategy>-<data>-s<seed>-<hash>/`. A run is complete when the folder has a
`result.json` with `"status": "completed"`, which is written last.
"""

import hashlib
import json
import logging
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.config.effect import replace_what_has_no_effect
from headstart.config.environment import hide
from headstart.errors import Pruned, RunFailed, UserError
from headstart.runtime.signals import Stopped
from headstart.storage import heartbeat, locks, records
from headstart.storage.files import LogFile, refuse_link, write_text
from headstart.storage.redact import Formatter, mask

log = logging.getLogger(__name__)

LOCK = ".lock"
# What a run that begins anew removes, with its checkpoints
OUTPUTS = ["result.json", "state.json", "predictions.csv", "predictions.npz", "metrics.csv"]
OUTPUTS += ["probe.safetensors", "unlike.safetensors"]
# Settings that cannot change a result are no part of the identity.
IRRELEVANT = (
    *("study", "output_dir", "cache_dir"),  # where it is kept
    *("rerun", "fail_fast", "sweep", "trial", "prune"),  # of the command; a pruned run has no result
    *("checkpoint_every", "keep", "figures"),
    "head",  # if a strategy uses it, the strategy contains it
    "logger",
    "hardware.workers",
    "features.storage",
    "hardware.tune",  # the settings that it chose are part of the identity
    "hardware.allow_bf16",
    "data.storage",
    "preprocessing",  # stated for the reader; it follows from the network, its weights and other keys
    "data.source.layout",  # of image folders: what it changes is in the digest of the data
)
# Keys that came later are no part of the identity while they have this value, with which all is as before.
LATER: dict[str, Any] = {"data.resize": "crop"} | {
    name: None for name in ("learning_rate", "data.pixel_range", "data.group", "data.folds", "data.fold")
}


def identity(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """The identity of a run: 8 hex digits of a digest of its resolved config and of `digests`.

    Settings that cannot change the result of any run are left out; those without effect on this one are replaced
    (`headstart.config.effect`). The order of keys is ignored, except for phases and rates,
    where the order has a meaning.

    Args:
        digests: of the content of data and weights: the same path with other images gives another run.
    """
    # the names under `imports` stand in the digest of their code
    kept = _drop_keys(replace_what_has_no_effect(config), (*IRRELEVANT, "imports"))
    # the content of all images, used or not, says in `compare` which data they are; `data` is of those that are used
    kept["digests"] = {name: digest for name, digest in digests.items() if name != "content"}
    kept["strategy"]["phases"] = [
        [phase, node | {"rates": list(node["rates"].items())}] for phase, node in kept["strategy"]["phases"].items()
    ]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _drop_keys(node: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    return {
        key: _drop_keys(value, keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{prefix}{key}" not in keys and (f"{prefix}{key}" not in LATER or LATER[f"{prefix}{key}"] != value)
    }


def make_name(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """Make the folder's name: network, strategy, data, seed and identity."""
    parts = [
        config["model"]["name"],
        config["strategy"]["name"],
        config["data"]["name"],
        f"s{config['seed']}",
    ]
    safe = ["".join(char if char.isalnum() or char in "._" else "_" for char in str(part)) for part in parts]
    return "-".join([*safe, identity(config, digests)])


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, completely or not at all; infinities and NaN become null."""
    write_text(path, json.dumps(_replace_non_finite(value), indent=2, ensure_ascii=False) + "\n")


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value


@dataclass(frozen=True)
class Run:
    """The folder of a run, locked by this process."""

    folder: Path
    name: str
    study: str
    hash: str
    leads: bool = True  # whether this process writes files: of several processes, only the first does
    lock: int | None = None  # the file descriptor that holds the lock; None for a lease, and in a rank
    claim: str | None = None  # the text that identifies a lease; None for a lock that cannot be lost

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def id(self) -> str:
        """The run's id in trackers: the same for each attempt, another one when the run begins anew or elsewhere."""
        return f"{self.study}-{self.hash}-{self.read_state().get('id', 0)}"

    def read_result(self) -> records.Result | None:
        """Read the result; None if the run is not complete."""
        return records.read_result(self.folder)

    def begin(self, config: Mapping[str, Any], overrides: Sequence[str], rerun: bool = False) -> None:
        """Prepare the folder and write the config; an interrupted attempt is continued.

        Args:
            rerun: start again from nothing what is complete, has failed, or left damaged files.

        Raises:
            UserError: an earlier attempt left damaged files.
        """
        from omegaconf import OmegaConf

        own = [self.folder / name for name in ("", "figures", "wandb")]
        for folder in (*own, self.checkpoints, *self.checkpoints.glob("*/")):
            refuse_link(folder)
            for half_written in folder.glob(".*"):
                if half_written.is_file() and half_written.name != LOCK:
                    half_written.unlink()
        before = self._read_what_is_continued(rerun)
        if before is None:
            for name in OUTPUTS:
                (self.folder / name).unlink(missing_ok=True)
            for folder in (self.checkpoints, self.folder / "wandb"):
                shutil.rmtree(folder, ignore_errors=True)
            before = {}
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(mask(hide(dict(config))))))
        write_text(self.folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(mask(list(overrides)))))
        known = before.get("id") or secrets.token_hex(3)  # two folders of one config never share it
        self.update_state(status="running", error=None, attempts=before.get("attempts", 0) + 1, id=known)

    def _read_what_is_continued(self, rerun: bool) -> dict[str, Any] | None:
        """Read the state of an attempt that is continued; None if the run starts from nothing."""
        try:
            state, done = self.read_state(), self.read_result()
        except UserError:
            if not rerun:
                raise
            return None
        over = state.get("status") in ("completed", "pruned") or (rerun and state.get("status") == "failed")
        return None if done is not None or over else state

    def read_state(self) -> dict[str, Any]:
        """Read `state.json`; empty if there is none."""
        return records.read_state(self.folder)

    def raise_if_lost(self) -> None:
        """Raise RunFailed if another process has taken the run over; only the process that writes files looks."""
        if self.leads:
            locks.raise_if_lost(self.folder / LOCK, self.claim)

    def update_state(self, **facts: Any) -> None:
        """Write facts to `state.json`: status, phase, its index, records of finished phases; as `raise_if_lost`."""
        self.raise_if_lost()
        if self.leads:
            write_json(self.folder / "state.json", self.read_state() | facts)

    def complete(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run a completed one.

        Raises:
            RunFailed: another process has taken the run over; its result counts.
        """
        self.raise_if_lost()
        write_json(self.folder / "result.json", result)
        self.update_state(status="completed")


def find_folder(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> Path:
    """The folder of the run with a resolved config."""
    return Path(config["output_dir"]) / config["study"] / make_name(config, digests)


@contextmanager
def lock_run(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> Iterator[Run]:
    """Make and lock the folder of the run with a resolved config; inside this context, log to its `train.log`.

    Raises:
        UserError: another process holds the lock (its pid and host are named), or the folder cannot be written.
    """
    folder = find_folder(config, digests)
    refuse_link(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir: cannot make {folder}: {error.strerror or error}") from error
    path = folder / LOCK
    with locks.hold(path) as lock, heartbeat.beat(path), log_to_file(folder / "train.log") as handler:
        hash_ = folder.name.rpartition("-")[2]
        run = Run(folder, folder.name, config["study"], hash_, lock=lock.descriptor, claim=lock.claim)
        try:
            yield run
        except Pruned as verdict:  # `state.json` says so already
            handler.handle(log.makeRecord(log.name, logging.INFO, "", 0, str(verdict), (), None))
            raise
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt | Stopped) else "failed"
            reason = mask(f"{type(error).__name__}: {error}")
            trace = sys.exc_info() if status == "failed" else None
            # if the disk is full, or the state is damaged, the first error has to be raised, not this one
            with suppress(RunFailed, OSError, UserError):
                handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, reason, (), trace))
                run.update_state(status=status, error=reason)
            raise


@contextmanager
def log_to_file(path: Path) -> Iterator[logging.Handler]:
    """Inside this context, append log lines to a file too."""
    handler = LogFile(path)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()
