"""A full disk and folders that cannot be written: never a half file, never a lost old one, and the error names both."""

from __future__ import annotations

import csv
import io
import logging
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import fork_server
from headstart.config.schema import LoggerConfig
from headstart.errors import RunFailed, UserError
from headstart.evaluation.metrics import save_predictions
from headstart.evaluation.probabilities import save_probabilities
from headstart.features.store import FeatureStore
from headstart.models import weights
from headstart.storage import checkpoints, files, runs
from headstart.storage.files import write_json
from headstart.tracking.logger import RunLog
from headstart.tracking.metrics_file import MetricsFile

CLASSES = ("a", "b", "c")
ROWS = [
    {"index": i, "name": f"{i}.png", "label": i % 3, "predicted": 0, "confidence": 0.5, "top5": [0, 1, 2]}
    for i in range(200)
]
SMALL = (
    "hardware=cpu hardware.threads=1 data.image_size=32 data.train_per_class=4 data.n_test=40 epochs=1 logger=csv "
    "model=timm model.name=test_resnet strategy=scratch"
)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow past `size` bytes: the system refuses as a full disk does, with its own error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def network(value: float) -> torch.nn.Module:
    made = torch.nn.Linear(100, 10)
    torch.nn.init.constant_(made.weight, value)
    return made


def finish(folder: Path, value: int) -> None:
    about: Any = {"run_id": "i", "name": "n", "study": "s", "job_type": "j", "config": {}}
    rows = [row | {"predicted": value} for row in ROWS]
    RunLog(folder, LoggerConfig(), **about).finish({}, rows, None, ["a", "b", "c"])


# what writes: the file in a folder, and a call that writes it for the first (0) or a later (1) time
WRITERS: dict[str, tuple[str, Callable[[Path, int], Any]]] = {
    "json": ("result.json", lambda folder, value: write_json(folder / "result.json", {"a": [value] * 500})),
    "text": ("config.yaml", lambda folder, value: files.write_text(folder / "config.yaml", f"{value}" * 1000)),
    "predictions": (
        "predictions.csv",
        lambda folder, value: save_predictions(
            folder / "predictions.csv", [row | {"label": value} for row in ROWS], CLASSES
        ),
    ),
    "probabilities": (
        "predictions.npz",
        lambda folder, value: save_probabilities(
            folder / "predictions.npz",
            {"test": (["x"] * 60, torch.full((60,), value), torch.randn(60, 9) + value)},
            CLASSES,
        ),
    ),
    "weights": ("best.safetensors", lambda folder, value: weights.save(network(value), folder / "best.safetensors")),
    "figure": ("figures/confusion.png", finish),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_no_half_one(name: str, tmp_path: Path) -> None:
    place, write = WRITERS[name]
    with room_for(300), pytest.raises(RunFailed, match=rf"cannot write .*{Path(place).name} \(\d+ bytes\): File too"):
        write(tmp_path, 0)
    kept = {"metrics.csv"} if name == "figure" else set()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == kept, "nothing half is left"
    write(tmp_path, 0)
    old = (tmp_path / place).read_bytes()
    with room_for(300), pytest.raises(RunFailed):
        write(tmp_path, 1)
    assert (tmp_path / place).read_bytes() == old
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == kept | {Path(place).name}
    write(tmp_path, 1)
    assert (tmp_path / place).read_bytes() != old
    assert (tmp_path / place).stat().st_mode & 0o777 == 0o666 & ~files.UMASK


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_a_file_is_named(name: str, tmp_path: Path) -> None:
    """What root cannot write either; a folder mounted read-only gives the same kind of error."""
    _, write = WRITERS[name]
    blocked = tmp_path / "blocked"
    blocked.write_text("mine")
    with pytest.raises(RunFailed, match=r"cannot write .*blocked"):
        write(blocked, 0)
    assert blocked.read_text() == "mine"


def test_an_epoch_that_does_not_fit_leaves_the_earlier_rows_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path)
    table.add({"phase": "all", "epoch": 0, "step": 1})
    old = path.read_bytes()
    row = {"phase": "all", "epoch": 1, "step": 2, "train_loss": 0.123456789}
    with room_for(len(old) + 8), pytest.raises(RunFailed, match=r"metrics.csv \(\d+ bytes\): File too large"):
        table.add(row)
    assert path.read_bytes() == old
    with room_for(len(old) - 8), pytest.raises(RunFailed, match=r"metrics.csv \(\d+ bytes\): File too large"):
        MetricsFile(path).add({"phase": "all", "epoch": 0, "step": 9})
    assert path.read_bytes() == old
    MetricsFile(path).add(row)
    assert [found["epoch"] for found in csv.DictReader(io.StringIO(path.read_text()))] == ["0", "1"]


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_it(tmp_path: Path) -> None:
    first = checkpoints.write(tmp_path, 1, {"tensor": torch.zeros(1000)})
    with room_for(2000), pytest.raises(RunFailed, match=r"step-00000002 \(\d+ bytes so far\): File too large"):
        checkpoints.write(tmp_path, 2, {"tensor": torch.ones(1000)})
    assert list(tmp_path.iterdir()) == [first]
    assert checkpoints.find_newest(tmp_path) == first


def test_a_feature_cache_that_does_not_fit_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path, "key")
    ids = [f"{i:032x}" for i in range(20)]
    store.write(ids[:1], torch.ones(1, 2), 1.0)
    with room_for(300):
        store.write(ids[1:], torch.ones(19, 50), 1.0)
    assert len(list((tmp_path / "features" / "key").iterdir())) == 1
    assert "feature cache: cannot write" in caplog.text
    assert "(4104 bytes): " in caplog.text
    assert set(store.read(set(ids))[0]) == set(ids[:1])


def test_a_log_that_cannot_grow_is_one_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("headstart.test_files")
    with room_for(200), runs.log_to_file(tmp_path / "train.log"):
        for line in range(20):
            logger.warning("line %d of twenty", line)
    told = [record.getMessage() for record in caplog.records if "train.log" in record.getMessage()]
    assert len(told) == 1
    assert "cut short" in told[0]
    assert "Traceback" not in capfd.readouterr().err
    assert (tmp_path / "train.log").read_text().startswith("20")


def headstart(arguments: str, cwd: Path, *, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """A real run; no file of it can grow past `limit` bytes."""
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))" if limit else ""
    done = fork_server.run(*arguments.split(), before=before, cwd=cwd)
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "victim"), [(1024, "config.yaml"), (65536, "best.safetensors")])
def test_a_run_on_a_full_disk_says_so_and_completes_once_there_is_room(limit: int, victim: str, tmp_path: Path) -> None:
    done = headstart(f"train {SMALL}", tmp_path, limit=limit)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{victim} (" in done.stdout
    assert "bytes): File too large" in done.stdout
    assert "Make room" in done.stdout
    assert done.stderr == ""
    (folder,) = (tmp_path / "outputs" / "runs").glob("test_resnet*")
    assert not (folder / "result.json").exists()
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"], "no half files"
    again = headstart(f"train {SMALL}", tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (folder / "result.json").is_file()


@pytest.mark.slow
def test_a_report_on_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    assert headstart(f"train {SMALL}", tmp_path).returncode == 0
    assert headstart("compare runs", tmp_path).returncode == 0
    report = tmp_path / "outputs" / "runs" / "report"
    old = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    done = headstart("compare runs", tmp_path, limit=4096)
    assert done.returncode == 1
    assert "could not be written to outputs/runs/report (" in done.stderr
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == old
    assert not list(report.parent.glob(".report-*"))


@pytest.mark.parametrize("write", [lambda path: files.append_text(path, "more"), files.LogFile])
def test_a_file_that_is_a_link_is_not_written_through(write: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "train.log").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match=r"train\.log is a symbolic link to"):
        write(tmp_path / "train.log")
    assert (tmp_path / "precious").read_text() == "kept"
