"""A run on disk: its folder, its lock, and its state.

The folder is `outputs/<study>/<model>-<strategy>-<data>-s<seed>-<hash>/`. A run is complete when the folder has a
`result.json` with `"status": "completed"`, which is written last.
"""

import logging
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.config.environment import hide
from headstart.errors import Pruned, RunFailed, UserError
from headstart.runtime.signals import Stopped
from headstart.storage import heartbeat, locks, records
from headstart.storage.files import LogFile, refuse_link, write_json, write_text
from headstart.storage.identity import find_folder
from headstart.storage.redact import Formatter, mask

log = logging.getLogger(__name__)

LOCK = ".lock"
# What a run that begins anew removes, with its checkpoints
OUTPUTS = ["result.json", "state.json", "predictions.csv", "predictions.npz", "metrics.csv"]
OUTPUTS += ["probe.safetensors", "unlike.safetensors"]


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


@contextmanager
def lock_run(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> Iterator[Run]:
    """Make and lock the folder of the run with a resolved config; inside this context, log to its `train.log`.

    Raises:
        UserError: another process holds the lock (its pid and host are named), or the folder cannot be written.
        RunFailed: another process has taken the run over; whatever this one met in the other one's files follows from
            that, so this is raised in its place.
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
            with _loss_as_cause(run):
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
def _loss_as_cause(run: Run) -> Iterator[None]:
    """Whatever this process meets in files that another one has taken over, the loss of the run is what is raised."""
    try:
        yield
    except (RunFailed, UserError, OSError):
        run.raise_if_lost()
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
