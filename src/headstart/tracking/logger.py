"""The logger of a run: metrics.csv always, and the trackers that the config asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from headstart.config.environment import hide
from headstart.errors import Pruned
from headstart.runtime.signals import Stopped
from headstart.storage.files import write_whole
from headstart.storage.redact import mask
from headstart.tracking.metrics_file import NUMBERS, MetricsFile, make_point
from headstart.tracking.summary import find_confident_mistakes, summarise
from headstart.tracking.tracker import About, BackgroundTracker, LoggerSettings, Pictures, State, Tracker


class RunLog:
    """The logger that every phase uses; as a context manager it always ends the trackers in the right state."""

    def __init__(
        self,
        folder: Path,
        settings: LoggerSettings,
        *,
        run_id: str,
        name: str,
        study: str,
        job_type: str,
        config: Mapping[str, Any],
    ) -> None:
        """Open metrics.csv in `folder`, and the run `run_id` in each tracker that `settings` names.

        What metrics.csv holds already, of an attempt that was interrupted, is sent again: each recording is of the
        whole run. `config` has one level of keys without dots, the same for every run; values that look secret are
        masked. Trackers start in the background: this call takes as long as `import wandb` (0.35 s), once for each
        process.
        """
        self._folder = folder
        self._metrics = MetricsFile(folder / "metrics.csv")
        self._state: State = "failed"
        tags = list(mask(list(settings.tags)))
        about = About(run_id, name, study, job_type, mask(hide(dict(config))), tags)
        self._trackers = open_trackers(folder, settings, about)
        for epoch, point in self._metrics.read_points():
            self._log(epoch, point)

    def log_epoch(
        self,
        phase: str,
        epoch: int,
        step: int,
        *,
        train_loss: float | None = None,
        train_accuracy: float | None = None,
        val_loss: float | None = None,
        val_accuracy: float | None = None,
        lr: float | None = None,
        seconds: float | None = None,
    ) -> None:
        """Log one epoch of `phase`, counted from 1; unknown values stay empty.

        Trackers get it twice: as `<phase>/...`, and as `train/...` and `val/...`, both over `epoch`, which counts the
        epochs of all phases, so that strategies with different phases share their panels.
        """
        values = (train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds)
        known = {k: float(v) for k, v in zip(NUMBERS, values, strict=True) if v is not None}
        number = self._metrics.add({"phase": phase, "epoch": epoch, "step": step, **known})
        self._log(number, make_point(phase, epoch, step, known))

    def log_text(self, name: str, lines: Sequence[str]) -> None:
        """Add lines to the run's settings in the trackers."""
        self._describe({name: "\n".join(lines)})

    def finish(
        self,
        result: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]] = (),
        images: Callable[[list[int]], Any] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """Log the final numbers, then pictures; after this call the run counts as completed.

        `result` is the content of result.json, `rows` are `metrics.list_predictions`, `images` returns the uint8
        pixels [k, 3, H, W] of k test rows, `classes` are the names of the labels (default: `result["classes"]`).
        The confusion matrix is saved in figures/; everything else goes to trackers only.
        """
        self._state = "completed"
        numbers = {**summarise(result, self._metrics), "status": "completed"}
        for tracker in self._trackers:
            tracker.summarise(numbers)
        names = list(classes or result.get("classes", ()))
        if rows and names:
            from headstart.tracking.confusion import draw_confusion

            path = self._folder / "figures" / "confusion.png"
            picture = draw_confusion([row["label"] for row in rows], [row["predicted"] for row in rows], names)
            with write_whole(path) as part:
                picture.save(part, format="PNG")
            curve = self._folder / "figures" / "learning_rate.png" if result.get("learning_rate") else None
            self._show(path, rows, images, names, curve)

    def end(self, state: State, reason: str = "") -> None:
        """End the run in another state than completed, with what ended it, secrets masked."""
        self._state = state
        facts = {"status": state, "error": mask(reason[:500])} if reason else {"status": state}
        for tracker in self._trackers:
            tracker.summarise(facts)
        self.close()

    def fail(self, error: BaseException) -> None:
        """End the run with the error that ended it: a stop by a signal is no failure, nor is pruning."""
        if isinstance(error, Pruned):
            self.end("pruned", str(error))
            return
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        self.end("stopped" if stopped else "failed", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """End each tracker, in the state `completed` if `finish` was called; waits some seconds at most for each."""
        for tracker in self._trackers:
            tracker.close(self._state)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        self.close()

    def _log(self, epoch: int, point: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(epoch, point)

    def _describe(self, facts: Mapping[str, Any]) -> None:
        for tracker in self._trackers:
            tracker.describe(facts)

    def _show(
        self,
        path: Path,
        rows: Sequence[Mapping[str, Any]],
        images: Callable[[list[int]], Any] | None,
        classes: Sequence[str],
        curve: Path | None,
    ) -> None:
        if not self._trackers:
            return
        mistakes = find_confident_mistakes(rows)
        pixels = None if images is None or not mistakes else images([row["index"] for row in mistakes])
        for tracker in self._trackers:
            tracker.show(Pictures(path, mistakes, pixels, classes, curve))


class SilentLog(RunLog):
    """The logger of the other processes of a run, which does nothing: only rank 0 writes."""

    def __init__(self) -> None:
        self._trackers, self._state = [], "failed"

    def log_epoch(self, phase: str, epoch: int, step: int, **values: float | None) -> None:
        """Do nothing: the metrics are the same in every process."""

    def finish(self, *arguments: Any, **options: Any) -> None:
        """Do nothing."""


def open_trackers(folder: Path, settings: LoggerSettings, about: About) -> list[Tracker]:
    """Open the trackers that the config asks for; none that its library's own variables switch off."""
    trackers: list[Tracker] = []
    if settings.wandb:
        from headstart.tracking.wandb_reach import is_switched_off

        if not is_switched_off():
            from headstart.tracking.wandb_run import WandbRun

            trackers.append(WandbRun(folder, settings, about))
    if settings.tensorboard:
        from headstart.tracking.tensorboard_run import TensorboardRun

        trackers.append(BackgroundTracker(TensorboardRun(folder, about)))
    if settings.mlflow:
        from headstart.tracking.mlflow_run import MlflowRun

        database = (folder.parent.parent / "mlflow.db").absolute()
        trackers.append(BackgroundTracker(MlflowRun(settings.mlflow_uri or f"sqlite:///{database}", about)))
    if settings.trackio:
        from headstart.tracking.trackio_run import TrackioRun

        trackers.append(BackgroundTracker(TrackioRun(settings.project, about, system=settings.system)))
    return trackers
