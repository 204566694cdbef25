"""TensorBoard, MLflow and Trackio: each one's own reader gives back what metrics.csv says."""

from __future__ import annotations

import csv
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import compose
from headstart.config.names import find_name_problems
from headstart.config.schema import LoggerConfig
from headstart.tracking.logger import RunLog
from headstart.tracking.tracker import BackgroundTracker, Pictures

ROWS = [{"index": i, "name": f"{i}.png", "label": i, "predicted": 0, "confidence": 0.5} for i in range(2)]
RESULT = {"test": {"accuracy": 0.75, "ece": None}, "per_class": [{"name": "a.b", "recall": 0.5}]}

Curves = dict[str, dict[int, float]]  # by name: the value of each epoch


def open_log(folder: Path, run_id: str = "r1", **trackers: Any) -> RunLog:
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"run_id": run_id, "name": folder.name, "study": "demo", "job_type": "finetune"}
    return RunLog(folder, LoggerConfig(**{"project": "p", "system": False} | trackers), **about, config=CONFIG)


CONFIG = {"strategy": "finetune", "lr": 0.001, "n_per_class": "all"}


def record(folder: Path, **trackers: Any) -> None:
    """A run of a fitted head and two epochs, in two attempts: the second sends all epochs."""
    with open_log(folder, **trackers) as first:
        first.log_epoch("head", 1, 1, val_accuracy=0.5)
        first.log_epoch("all", 1, 2, train_loss=0.5, val_accuracy=0.25, lr=1e-3)
    with open_log(folder, **trackers) as second:
        second.log_epoch("all", 2, 4, train_loss=0.125, val_accuracy=0.75, lr=1e-4)
        second.finish(RESULT, ROWS, None, ["a", "b"])


def read_metrics(folder: Path) -> Curves:
    """The curves that metrics.csv holds, over the epochs of all phases."""
    found: Curves = {"val/accuracy": {}, "train/loss": {}, "train/lr": {}}
    with (folder / "metrics.csv").open(newline="") as lines:
        for epoch, row in enumerate(csv.DictReader(lines), start=1):
            for name, column in {"val/accuracy": "val_accuracy", "train/loss": "train_loss", "train/lr": "lr"}.items():
                if row[column]:
                    found[name][epoch] = float(row[column])
    return found


def only(curves: Mapping[str, dict[int, float]]) -> Curves:
    names = ("val/accuracy", "train/loss", "train/lr")
    return {name: {step: pytest.approx(value, rel=1e-6) for step, value in curves[name].items()} for name in names}


def test_tensorboard_reads_the_epochs_of_metrics_csv(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "demo" / "run"
    record(folder, tensorboard=True)
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    tags = reader.Tags()
    curves = {name: {point.step: point.value for point in reader.Scalars(name)} for name in tags["scalars"]}
    assert read_metrics(folder) == only(curves)
    assert curves["test/accuracy"] == {0: 0.75}
    assert curves["recall/a_b"] == {0: 0.5}
    assert tags["images"] == ["test/confusion"]
    assert "config/strategy/text_summary" in tags["tensors"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
def test_mlflow_reads_the_epochs_of_metrics_csv(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "demo" / "run"
    record(folder, mlflow=True)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("demo")
    (run,) = client.search_runs([experiment.experiment_id])
    names = ("val/accuracy", "train/loss", "train/lr")
    curves = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    assert read_metrics(folder) == only({k: {point.step: point.value for point in v} for k, v in curves.items()})
    assert [len(points) for points in curves.values()] == [3, 2, 2]  # none twice
    assert run.data.params == {key: str(value) for key, value in CONFIG.items()}
    assert run.data.metrics["test/accuracy"] == 0.75
    assert (run.info.run_name, run.info.status, run.data.tags["status"]) == ("run", "FINISHED", "completed")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_trackio_reads_the_epochs_of_metrics_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="pip install 'headstart[trackio]' (it needs pillow < 13)")
    from trackio.sqlite_storage import SQLiteStorage

    folder = tmp_path / "demo" / "run"
    record(folder, trackio=True)
    points = SQLiteStorage.get_logs("p", "run")
    curves: Curves = {}
    for point in points:
        for name, value in point.items():
            if "/" in name and point.get("epoch"):
                curves.setdefault(name, {})[point["epoch"]] = value
    assert read_metrics(folder) == only(curves)
    assert [point["test/accuracy"] for point in points if "test/accuracy" in point] == [0.75]
    assert SQLiteStorage.get_run_config("p", "run")["strategy"] == "finetune"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_several_at_once_and_a_failed_run_in_its_state(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    with pytest.raises(ValueError, match="odd"), open_log(tmp_path / "demo" / "run", tensorboard=True, mlflow=True):
        raise ValueError("odd")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    assert (run.info.status, run.data.tags["status"], run.data.tags["error"]) == ("FAILED", "failed", "ValueError: odd")
    assert list((tmp_path / "demo" / "run" / "tensorboard").glob("events.*"))


class Broken:
    """A tracker whose call does what it is told to."""

    name, patience = "mlflow", 0.2

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def open(self) -> None:
        """Nothing to do."""

    load = open

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        self._call()

    describe = summarise = show = close = log  # type: ignore[assignment]


def test_a_broken_tracker_costs_one_warning_and_no_more_than_its_patience(caplog: pytest.LogCaptureFixture) -> None:
    never = threading.Event()
    for call, reason in ((lambda: 1 / 0, "division by zero"), (never.wait, "no answer in")):
        caplog.clear()
        tracker = BackgroundTracker(Broken(call))  # type: ignore[arg-type]
        tracker.log(1, {"a": 1.0})
        tracker.show(Pictures(Path("none"), [], None))
        tracker.close("completed")
        tracker.close("completed")
        (warning,) = [record.getMessage() for record in caplog.records]
        assert warning.startswith(f"logger.mlflow: {reason}")
        assert warning.endswith("The run goes on; metrics are in metrics.csv")
    never.set()


def test_a_server_that_nobody_answers_at_is_not_waited_for_long(tmp_path: Path) -> None:
    from headstart.tracking.mlflow_run import MlflowRun
    from headstart.tracking.tracker import About

    about = About("r1", "run", "demo", "finetune", {})
    assert MlflowRun("http://127.0.0.1:1", about).patience <= 5
    assert MlflowRun("sqlite:///a.db", about).patience > 5


def test_several_trackers_are_a_list_of_files() -> None:
    logger = compose("logger=[wandb,tensorboard,mlflow]").logger
    assert (logger.wandb, logger.tensorboard, logger.mlflow, logger.trackio) == (True, True, True, False)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_missing_package_is_said_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose("logger=wandb")
    setattr(config.logger, name, True)
    monkeypatch.setattr("headstart.config.names.find_spec", lambda _: None)
    (problem,) = find_name_problems(config)
    assert problem == f"logger={name}: its package is not installed: pip install 'headstart[{name}]'"
