"""What every tracker is told of a run, and the thread in which a tracker works, so that none holds up the training."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

log = logging.getLogger(__name__)

PATIENCE = 4.5  # seconds that a run waits at its end for a tracker ...
IMPORT_SECONDS = 30.0  # ... once its package is imported, which takes as long as the machine takes

State = Literal["completed", "failed", "stopped", "pruned"]


class LoggerSettings(Protocol):
    """The `logger` part of the config."""

    @property
    def wandb(self) -> bool: ...
    @property
    def tensorboard(self) -> bool: ...
    @property
    def mlflow(self) -> bool: ...
    @property
    def trackio(self) -> bool: ...
    @property
    def project(self) -> str: ...
    @property
    def entity(self) -> str | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def system(self) -> bool: ...
    @property
    def artifacts(self) -> str: ...
    @property
    def mlflow_uri(self) -> str | None: ...


@dataclass(frozen=True)
class About:
    """What a run is called, and its settings: one level of keys without dots, the same for every run."""

    run_id: str
    name: str
    study: str
    job_type: str
    config: Mapping[str, Any]
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class Pictures:
    """What is shown of a finished run: the file of its confusion matrix, and mistakes with their pixels.

    Attributes:
        pixels: uint8 [k, 3, H, W] of the k mistakes, None if they are not known.
        range_test: the file of the curve by which the learning rate was found, None if none was looked for.
    """

    confusion: Path
    mistakes: Sequence[Mapping[str, Any]]
    pixels: Any
    classes: Sequence[str] = field(default_factory=tuple)
    range_test: Path | None = None


class Tracker(Protocol):
    """Where a run is recorded beside its folder. No call blocks or raises; trouble costs one warning."""

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        """Record the numbers of an epoch, counted from 1 over all phases."""

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the run's settings."""

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        """Record numbers that stand for the whole run; None is not known."""

    def show(self, pictures: Pictures) -> None:
        """Show pictures."""

    def close(self, state: State) -> None:
        """End the recording; only the first call counts."""


class Adapter(Protocol):
    """A tracker's library behind the calls of `Tracker`; these may block, and raise whatever.

    `load` imports its package; `open` drops what an earlier attempt of the same run recorded: metrics.csv is recorded
    again from its start.
    """

    name: str
    patience: float

    def load(self) -> None: ...
    def open(self) -> None: ...
    def log(self, epoch: int, point: Mapping[str, float]) -> None: ...
    def describe(self, facts: Mapping[str, Any]) -> None: ...
    def summarise(self, numbers: Mapping[str, Any]) -> None: ...
    def show(self, pictures: Pictures) -> None: ...
    def close(self, state: State) -> None: ...


class BackgroundTracker:
    """Makes an adapter's calls in a thread: one that raises or hangs costs a warning and a few seconds at the end."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._loaded, self._done = threading.Event(), threading.Event()
        self._closed = False
        threading.Thread(target=self._work, name=f"headstart-{adapter.name}", daemon=True).start()

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        self._calls.put(lambda: self._adapter.log(epoch, point))

    def describe(self, facts: Mapping[str, Any]) -> None:
        self._calls.put(lambda: self._adapter.describe(facts))

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        self._calls.put(lambda: self._adapter.summarise(numbers))

    def show(self, pictures: Pictures) -> None:
        self._calls.put(lambda: self._adapter.show(pictures))

    def close(self, state: State) -> None:
        if self._closed:
            return
        self._closed = True
        self._calls.put(lambda: self._adapter.close(state))
        self._calls.put(None)
        self._loaded.wait(IMPORT_SECONDS)
        began = time.monotonic()
        if not self._done.wait(self._adapter.patience):
            self._warn(f"no answer in {time.monotonic() - began:.1f} s")

    def _work(self) -> None:
        try:
            self._adapter.load()
            self._loaded.set()
            self._adapter.open()
            while (call := self._calls.get()) is not None:
                call()
        except BaseException as error:  # also SystemExit: nothing that a tracker raises may reach the training
            self._warn((str(error).splitlines() or [type(error).__name__])[0])
        finally:
            self._loaded.set()
            self._done.set()

    def _warn(self, reason: str) -> None:
        name = self._adapter.name
        log.warning("logger.%s: %s. The run goes on; metrics are in metrics.csv", name, reason.rstrip("."))
