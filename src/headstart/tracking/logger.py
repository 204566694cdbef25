"""The logger of a run: metrics.csv always, Weights & Biases if the config asks for it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from headstart import scores
from headstart.config.environment import hide
from headstart.storage.files import append_text, write_text, write_whole
from headstart.storage.records import make_damage_error
from headstart.storage.redact import mask
from headstart.tracking.wandb_names import LONGEST, fit_names
from headstart.tracking.wandb_reach import is_switched_off
from headstart.tracking.wandb_run import LoggerSettings, WandbRun

NUMBERS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")
COLUMNS = ("phase", "epoch", "step", *NUMBERS)
SUMMARY = (
    *(f"{part}.{score}" for part in ("test", "val") for score in scores.NAMES),
    *(f"seconds.{part}" for part in ("features", "fit", "test", "total")),
    *("params.total", "params.trainable", "gmacs", "epochs", "backbone_forwards", "images_per_second"),
    *("cached", "n_train", "n_val", "n_test"),
)
MISTAKES = 16


class MetricsFile:
    """metrics.csv: one row for each epoch, written at once; an epoch repeated after a resume replaces its row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a last line without a line end was cut by a crash
            for row in csv.DictReader(io.StringIO(whole)):
                self._rows[row["phase"], int(row["epoch"])] = {column: row.get(column) for column in COLUMNS}
        except (ValueError, TypeError, LookupError, csv.Error) as error:
            raise make_damage_error(path, error) from error
        if whole != text or not whole or not whole.startswith(",".join(COLUMNS)):
            self._rewrite()

    def add(self, row: dict[str, Any]) -> int:
        """Append `row`, or replace the row with the same phase and epoch; return its index."""
        place = row["phase"], int(row["epoch"])
        known = place in self._rows
        self._rows[place] = row
        if known:
            self._rewrite()
        else:
            append_text(self._path, _format_rows([row]))
        return list(self._rows).index(place)

    def _rewrite(self) -> None:
        """Write the whole file again."""
        write_text(self._path, _format_rows([dict(zip(COLUMNS, COLUMNS, strict=True)), *self._rows.values()]))


def _format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as the text of metrics.csv."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue()


class RunLog:
    """The logger that every phase uses; as a context manager it always ends the W&B run in the right state."""

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
        """Open metrics.csv in `folder` and, if `settings.wandb`, a W&B run `run_id` in the group `study`.

        `config` has one level of keys, the same for every run (None where not set); values that look secret are
        masked. W&B starts in the background: this call takes as long as `import wandb` (0.35 s), once for each
        process.
        """
        self._folder = folder
        self._metrics = MetricsFile(folder / "metrics.csv")
        self._finished = False
        self._phases: set[str] = set()
        self._dashboard: WandbRun | None = None
        if settings.wandb and not is_switched_off():
            names = fit_names(run_id, name, study)
            about = {"config": mask(hide(config)), "job_type": job_type[:LONGEST], "tags": mask(list(settings.tags))}
            self._dashboard = WandbRun(folder, settings, {**names, **about})
            self._send(define_curves("epoch", "train/*", "val/*"))

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
        """Log one epoch of `phase`; unknown values stay empty.

        W&B gets it twice: as `<phase>/...` over `<phase>/epoch`, and as `train/...` and `val/...` over
        `epoch`, which counts the epochs of all phases, so that strategies with different phases share their panels.
        """
        values = (train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds)
        known = {k: float(v) for k, v in zip(NUMBERS, values, strict=True) if v is not None}
        place = self._metrics.add({"phase": phase, "epoch": epoch, "step": step, **known})
        if phase not in self._phases:
            self._phases.add(phase)
            self._send(define_curves(f"{phase}/epoch", f"{phase}/*"))
        shared = {column.replace("_", "/"): value for column, value in known.items() if "_" in column}
        point = {f"{phase}/{column}": value for column, value in known.items()}
        point |= {**shared, "epoch": place, f"{phase}/epoch": epoch, f"{phase}/step": step}
        self._send(lambda run: run.log(point))

    def log_text(self, name: str, lines: Sequence[str]) -> None:
        """Add lines to the config of the W&B run; a W&B table would be a file, which a bad network connection loses."""
        self._send(lambda run: run.config.update({name: "\n".join(lines)}, allow_val_change=True))

    def finish(
        self,
        result: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]] = (),
        images: Callable[[list[int]], Any] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """Log the final numbers; after this call the run counts as completed.

        `result` is the content of result.json, `rows` are `metrics.list_predictions`, `images` returns the uint8
        pixels [k, 3, H, W] of k test rows, `classes` are the names of the labels (default: `result["classes"]`).
        The confusion matrix is saved in figures/; everything else goes to W&B only.
        """
        self._finished = True
        names = list(classes or result.get("classes", ()))
        if rows and names:
            from headstart.tracking.confusion import draw_confusion

            path = self._folder / "figures" / "confusion.png"
            picture = draw_confusion([row["label"] for row in rows], [row["predicted"] for row in rows], names)
            with write_whole(path) as part:
                picture.save(part, format="PNG")
            self._send(_log_pictures(path, find_confident_mistakes(rows), images, names))
        numbers = {key.replace(".", "/"): _get_value(result, key) for key in SUMMARY}
        self._send(lambda run: run.summary.update(numbers))

    def fail(self, error: BaseException) -> None:
        """Log the error that ended the run, with secrets masked, and close the W&B run as failed."""
        reason = mask(f"{type(error).__name__}: {error}"[:500])
        self._send(lambda run: run.summary.update({"error": reason}))
        self._finished = False
        self.close()

    def close(self) -> None:
        """End the W&B run, as completed if `finish` was called, else as failed; waits at most 4.5 s for W&B."""
        if self._dashboard is not None:
            self._dashboard.close(0 if self._finished else 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        self.close()

    def _send(self, call: Callable[[Any], None]) -> None:
        """Pass a call on to W&B, if it is in use."""
        if self._dashboard is not None:
            self._dashboard.send(call)


class SilentLog(RunLog):
    """The logger of the other processes of a run, which does nothing: only rank 0 writes."""

    def __init__(self) -> None:
        self._finished, self._dashboard = False, None

    def log_epoch(self, phase: str, epoch: int, step: int, **values: float | None) -> None:
        """Do nothing: the metrics are the same in every process."""

    def log_text(self, name: str, lines: Sequence[str]) -> None:
        """Do nothing."""

    def finish(self, *arguments: Any, **options: Any) -> None:
        """Do nothing."""


def find_confident_mistakes(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Find the 16 mistakes with the highest confidence, the highest first; in the given order if it is not known."""
    mistakes = [row for row in rows if row["label"] != row["predicted"]]
    return sorted(mistakes, key=lambda row: -(row["confidence"] or 0.0))[:MISTAKES]


def _get_value(result: Mapping[str, Any], key: str) -> Any:
    """Get the value of a dotted key; None if there is none."""
    value: Any = result
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def define_curves(axis: str, *curves: str) -> Callable[[Any], None]:
    """Return the call that tells W&B to draw `curves` (name patterns) over `axis`."""

    def call(run: Any) -> None:
        run.define_metric(axis, hidden=True)
        for curve in curves:
            run.define_metric(curve, step_metric=axis)

    return call


def _log_pictures(
    path: Path,
    mistakes: Sequence[Mapping[str, Any]],
    images: Callable[[list[int]], Any] | None,
    classes: Sequence[str],
) -> Callable[[Any], None]:
    """Return the call that logs the picture at `path` and a table of mistakes; their pixels are read at once."""
    pixels = None if images is None or not mistakes else images([row["index"] for row in mistakes])

    def call(run: Any) -> None:
        import numpy as np
        import wandb

        table = wandb.Table(columns=["image", "name", "true", "predicted", "confidence"])
        for place, row in enumerate(mistakes):
            picture = None if pixels is None else wandb.Image(np.asarray(pixels[place]).transpose(1, 2, 0))
            shown = classes[row["label"]], classes[row["predicted"]]
            table.add_data(picture, row["name"], *shown, row["confidence"])
        run.log({"test/confusion": wandb.Image(str(path)), "test/mistakes": table})

    return call
