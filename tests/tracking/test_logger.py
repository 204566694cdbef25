"""What a run leaves in metrics.csv and in W&B: real wandb, offline; a server only where it misbehaves."""

import csv
import json
import logging
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.config.schema import LoggerConfig
from headstart.storage.redact import mask
from headstart.tracking.logger import RunLog
from headstart.tracking.metrics_file import COLUMNS, MetricsFile
from headstart.tracking.summary import find_confident_mistakes

WANDB = [sys.executable, "-m", "wandb"]
CLASSES = ["cat", "dog", "eel"]
RESULT = {
    "test": {"accuracy": 0.75, "top5": 1.0, "balanced_accuracy": 0.7, "nll": 0.4, "ece": None},
    "val": {"accuracy": 0.8},
    "params": {"total": 100, "trainable": 10},
    "seconds": {"features": 1.5, "fit": 2.5, "test": 0.5, "total": 5.0},
    "gmacs": 0.4,
}
ROWS = [
    {"index": 0, "name": "a.png", "label": 0, "predicted": 0, "confidence": 0.9, "top5": [0, 1, 2]},
    {"index": 1, "name": "b.png", "label": 1, "predicted": 2, "confidence": 0.6, "top5": [2, 1, 0]},
    {"index": 2, "name": "c.png", "label": 2, "predicted": 0, "confidence": 0.8, "top5": [0, 2, 1]},
]
PIXELS = np.stack([np.full((3, 8, 8), 80 * i, dtype=np.uint8) for i in range(3)])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own W&B key, settings and home out of the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))


def settings(**changes: Any) -> LoggerConfig:
    return LoggerConfig(**{"wandb": True, "project": "p", "tags": ["t"]} | changes)


def open_log(folder: Path, config: dict[str, Any] | None = None, **changes: Any) -> RunLog:
    folder.mkdir(exist_ok=True)
    about = {"run_id": f"id-{folder.name}", "name": folder.name, "study": "demo", "job_type": "finetune"}
    return RunLog(folder, settings(**changes), **about, config=config or {"model": "lite0", "decay": None})


def records(folder: Path) -> list[dict[str, Any]]:
    """Read the offline run in `folder` back, record by record, with wandb's own reader."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    shown = subprocess.run([*WANDB, "leet", "inspect", "--json", path], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in shown.stdout.splitlines()]


def of(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record[kind] for record in found if record["type"] == kind]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for part in of("summary", found):
        together |= part["update"]
    return together


# metrics.csv


def test_every_epoch_is_on_disk_at_once_with_its_columns(tmp_path: Path) -> None:
    run_log = open_log(tmp_path / "r", wandb=False)
    assert (tmp_path / "r" / "metrics.csv").read_text() == ",".join(COLUMNS) + "\n"
    run_log.log_epoch("head", 0, 5, val_accuracy=0.1 + 0.2)
    assert rows(tmp_path / "r") == [
        dict.fromkeys(COLUMNS, "") | {"phase": "head", "epoch": "0", "step": "5", "val_accuracy": repr(0.1 + 0.2)}
    ]
    assert not (tmp_path / "r" / "wandb").exists()


def test_resume_keeps_old_rows_and_a_repeated_epoch_replaces_its_row(tmp_path: Path) -> None:
    first = open_log(tmp_path / "r", wandb=False)
    for phase, epoch in [("head", 0), ("all", 0), ("all", 1)]:
        first.log_epoch(phase, epoch, epoch, train_loss=1.0)
    second = open_log(tmp_path / "r", wandb=False)
    assert len(rows(tmp_path / "r")) == 3
    second.log_epoch("all", 1, 1, train_loss=2.0)
    second.log_epoch("all", 2, 2, train_loss=3.0)
    seen = [(row["phase"], row["epoch"], row["train_loss"]) for row in rows(tmp_path / "r")]
    assert seen == [("head", "0", "1.0"), ("all", "0", "1.0"), ("all", "1", "2.0"), ("all", "2", "3.0")]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["metrics.csv"]


def test_a_torn_last_row_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path)
    table.add({"phase": "all", "epoch": 0, "step": 1})
    with path.open("a") as file:
        file.write("all,1,2,0.12")
    MetricsFile(path)
    assert path.read_text().splitlines()[1:] == ["all,0,1,,,,,,"]
    MetricsFile(path).add({"phase": "all", "epoch": 1, "step": 2, "train_loss": 0.125})
    assert path.read_text().splitlines()[1:] == ["all,0,1,,,,,,", "all,1,2,0.125,,,,,"]


# W&B, offline


def test_the_strategys_table_stands_beside_the_config(tmp_path: Path) -> None:
    with open_log(tmp_path / "r") as run_log:
        run_log.log_text("strategy_table", ["phase  depth", "head   head"])
        run_log.finish({})
    sent = json.dumps(of("config", records(tmp_path / "r")))
    assert "strategy_table" in sent
    assert "head   head" in sent


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """One finished run and its records."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HOME", str(folder.parent))
        patch.setenv("WANDB_SERVICE", "3-1-unix-/nowhere/socket")  # of a program around this one, long gone
        with open_log(folder, {"model": "lite0", "decay": None, "hf_token": "hush-hush"}) as run_log:
            run_log.log_epoch("head", 1, 4, val_accuracy=0.5, val_loss=1.0)
            run_log.log_epoch("all", 1, 8, train_loss=0.5, val_accuracy=0.6, lr=1e-3)
            run_log.log_epoch("all", 2, 12, train_loss=0.4, val_accuracy=0.7, lr=1e-4)
            run_log.finish(RESULT, ROWS, lambda wanted: PIXELS[wanted], CLASSES)
    return folder, records(folder)


def test_offline_run_has_its_identity_and_a_flat_config_without_secrets(finished) -> None:
    folder, found = finished
    (run,) = of("run", found)
    identity = {key: run[key] for key in ("run_id", "display_name", "run_group", "job_type", "project", "tags")}
    assert identity == {
        "run_id": "id-one",
        "display_name": "one",
        "run_group": "demo",
        "job_type": "finetune",
        "project": "p",
        "tags": ["t"],
    }
    assert run["config"]["update"] == {"_wandb": {}, "model": "lite0", "decay": None, "hf_token": "***"}
    assert not [path for path in folder.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]


def test_offline_curves_have_the_epoch_as_their_axis(finished) -> None:
    _, found = finished
    axes = {metric.get("glob_name"): metric["step_metric"] for metric in of("metric", found) if "step_metric" in metric}
    assert axes == {"*": "epoch", None: "epoch"}
    best = {metric["name"]: metric["summary"] for metric in of("metric", found) if "summary" in metric}
    assert best == {
        "val/accuracy": {"max": True},
        "val/loss": {"min": True},
        "train/accuracy": {"max": True},
        "train/loss": {"min": True},
    }
    points = [point["item"] for point in of("history", found)]
    assert [point.get("all/val_accuracy") for point in points] == [None, 0.6, 0.7, None]
    assert [point.get("val/accuracy") for point in points] == [0.5, 0.6, 0.7, None]
    assert [point.get("epoch") for point in points[:3]] == [1, 2, 3]
    assert [point.get("_step") for point in points[:3]] == [1, 2, 3]
    assert [point.get("all/epoch") for point in points[1:3]] == [1, 2]
    assert points[1]["all/lr"] == 1e-3


def test_offline_summary_holds_the_final_numbers_with_nulls(finished) -> None:
    _, found = finished
    numbers = summary(found)
    assert numbers["test/accuracy"] == 0.75
    assert numbers["test/ece"] is None
    assert numbers["val/accuracy"] == 0.8  # the best on validation, not the last epoch's
    assert numbers["seconds/total"] == 5.0
    assert numbers["params/trainable"] == 10
    assert numbers["gmacs"] == 0.4
    assert numbers["images_per_second"] is None
    assert [end["exit_code"] for end in of("exit", found)] == [0]


def test_offline_table_shows_the_surest_mistakes_with_their_pixels(finished) -> None:
    folder, found = finished
    point = of("history", found)[-1]["item"]
    (files,) = folder.glob("wandb/offline-run-*/files")
    table = json.loads((files / point["test/mistakes.path"]).read_text())
    assert table["columns"] == ["image", "name", "true", "predicted", "confidence"]
    assert [row[1:] for row in table["data"]] == [["c.png", "eel", "cat", 0.8], ["b.png", "dog", "eel", 0.6]]
    kept = [Image.open(path) for path in folder.glob("wandb/artifacts/staging/*") if path.read_bytes()[1:4] == b"PNG"]
    assert sorted(np.asarray(picture).reshape(-1)[0] for picture in kept) == [80, 160]
    assert not (folder.parent / ".local" / "share" / "wandb").exists()


def test_offline_confusion_matrix_is_a_picture(finished) -> None:
    folder, found = finished
    point = of("history", found)[-1]["item"]
    (files,) = folder.glob("wandb/offline-run-*/files")
    logged = files / point["test/confusion.path"]
    assert logged.read_bytes() == (folder / "figures" / "confusion.png").read_bytes()
    assert min(Image.open(logged).size) > 600


def test_leet_opens_the_run_in_a_terminal(finished, tmp_path: Path) -> None:
    folder, _ = finished
    environment = os.environ | {"TERM": "xterm-256color", "LINES": "50", "COLUMNS": "160"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [*WANDB, "leet", str(folder / "wandb")], environment)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    seen, deadline = b"", time.monotonic() + 20
    try:
        while time.monotonic() < deadline and not (b"id-one" in seen and b"test/accuracy" in seen):
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
    finally:
        os.killpg(pid, signal.SIGKILL)  # the terminal's, and the program that it starts
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"id-one" in seen
    assert b"test/accuracy" in seen


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_run_that_raises_ends_as_failed_and_says_why(tmp_path: Path, kind: type[BaseException]) -> None:
    with pytest.raises(kind), open_log(tmp_path / "r") as run_log:  # noqa: PT012
        run_log.log_epoch("all", 0, 1, train_loss=1.0)
        raise kind("loss is odd, api_key=hush-hush")
    found = records(tmp_path / "r")
    failed = kind is ValueError
    assert [end["exit_code"] for end in of("exit", found)] == [1 if failed else 255]
    assert summary(found)["error"] == f"{kind.__name__}: loss is odd, api_key=***"
    assert summary(found)["status"] == ("failed" if failed else "stopped")


def test_a_run_that_stops_without_finish_is_not_shown_as_finished(tmp_path: Path) -> None:
    with open_log(tmp_path / "r") as run_log:
        run_log.log_epoch("all", 0, 1, train_loss=1.0)
    assert [end["exit_code"] for end in of("exit", records(tmp_path / "r"))] == [1]


def test_three_jobs_in_one_process_are_three_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in "abc":
        with open_log(tmp_path / name) as run_log:
            run_log.log_epoch("all", 0, 1, train_loss=ord(name))
            run_log.finish(RESULT)
    for name in "abc":
        found = records(tmp_path / name)
        assert of("run", found)[0]["run_id"] == f"id-{name}"
        assert [point["item"]["train/loss"] for point in of("history", found)] == [ord(name)]
        assert [end["exit_code"] for end in of("exit", found)] == [0]
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("headstart")]
    assert lines == [
        f"W&B offline: {tmp_path}/{name}/wandb; look at it with: wandb leet {tmp_path}/{name}/wandb" for name in "abc"
    ]


def test_nothing_of_the_process_is_recorded(finished) -> None:
    """No command line (it may hold a secret), no packages, no code, no console."""
    folder, found = finished
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not names & {"wandb-metadata.json", "requirements.txt", "output.log", "diff.patch"}
    assert not of("output", found) + of("output_raw", found)
    assert not [key for part in of("stats", found) for key in part["item"] if "/" in key and "disk./" not in key]


@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true"), ("WANDB_DISABLED", "Yes")]
)
def test_environment_switches_wandb_off(tmp_path, monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with open_log(tmp_path / "r") as run_log:
        run_log.log_epoch("all", 0, 1, train_loss=1.0)
        run_log.finish(RESULT)
    assert not (tmp_path / "r" / "wandb").exists()
    assert len(rows(tmp_path / "r")) == 1


def test_csv_alone_imports_no_wandb(tmp_path: Path) -> None:
    code = (
        "import sys, types, pathlib; from headstart.tracking.logger import RunLog\n"
        "from headstart.config.schema import LoggerConfig; s = LoggerConfig()\n"
        "about = dict(run_id='i', name='n', study='s', job_type='j', config={})\n"
        f"with RunLog(pathlib.Path({str(tmp_path)!r}), s, **about) as r:\n"
        "    r.log_epoch('a', 0, 0); r.finish({})\n"
        "print([m for m in ('wandb', 'torch', 'numpy', 'PIL', 'requests') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_a_picture_that_cannot_be_made_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_log(tmp_path / "r") as run_log:
        run_log.finish(RESULT, ROWS, lambda wanted: np.zeros((len(wanted), 2)), CLASSES)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "metrics are in metrics.csv; upload later with wandb sync" in warnings[0]
    assert [end["exit_code"] for end in of("exit", records(tmp_path / "r"))] == [0]


def test_worst_are_the_surest_mistakes() -> None:
    many = [{"index": i, "label": 0, "predicted": i % 2, "confidence": i / 100} for i in range(100)]
    assert [row["index"] for row in find_confident_mistakes(many)] == list(range(99, 67, -2))
    unsure = [row | {"confidence": None} for row in many]
    assert [row["index"] for row in find_confident_mistakes(unsure)] == list(range(1, 33, 2))


# W&B, with a server that misbehaves


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A local W&B server that answers every request with `status`, or never while `status` is 0."""
    state = SimpleNamespace(status=500, requests=0)
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.requests += 1
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if state.status == 0:
                stop.wait(30)
                return
            body = b'{"errors": [{"message": "no"}]}'
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{http.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    stop.set()
    http.shutdown()


JOB = """
import sys, time, types, pathlib, logging, os, signal
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from headstart.tracking.logger import RunLog
from headstart.tracking import wandb_internals
from headstart.config.schema import LoggerConfig
s = LoggerConfig(wandb=True, project="p", mode=sys.argv[2])
for job in sys.argv[3].split(","):
    folder = pathlib.Path(sys.argv[1]) / job
    folder.mkdir()
    with RunLog(folder, s, run_id=job, name=job, study="s", job_type="j", config={}) as log:
        log.log_epoch("all", 0, 1, train_loss=1.0)
        if job == "killed":
            until = time.monotonic() + 20
            while time.monotonic() < until:  # W&B's process writes its file every second
                time.sleep(0.1)
                if any(b"train_loss" in path.read_bytes() for path in folder.glob("wandb/*/*.wandb")):
                    break
            wandb_internals.kill_service()
            time.sleep(0.2)
            log.log_epoch("all", 1, 2, train_loss=0.5)
        time.sleep(1.5)
        log.finish({"gmacs": 0.5})
        start = time.monotonic()
    print(f"waited {time.monotonic() - start:.2f}")
"""


def job(folder: Path, mode: str, names: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the jobs `names`, one after the other, in a process of their own."""
    command = [sys.executable, "-c", JOB, str(folder), mode, names]
    variables = {name: value for name, value in os.environ.items() if cwd is None or name != "WANDB_MODE"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=variables)


@pytest.mark.parametrize("switch", ["disabled", "offline"])
def test_what_wandb_was_told_in_this_folder_is_heeded(tmp_path: Path, server, switch: str) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text(f"[default]\nmode = {switch}\n")  # as `wandb disabled` writes it
    done = job(tmp_path, "auto", "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert server.requests == 0
    assert (tmp_path / "one" / "wandb").exists() == (switch == "offline")
    assert ("switched off by `wandb disabled`" in done.stdout) == (switch == "disabled")
    assert len(rows(tmp_path / "one")) == 1


def test_a_folder_to_sync_is_named_only_if_it_is_there(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # it cannot be imported
    with open_log(tmp_path / "r") as run_log:
        run_log.finish(RESULT)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("W&B cannot be imported: ")
    assert warning.endswith("The run goes on; metrics are in metrics.csv")


WEATHER = {
    500: "W&B's server answers with an error (500): ",
    401: "W&B's server answers with an error (401): ",
    0: "W&B is unreachable",
}


@pytest.mark.parametrize("status", [pytest.param(500, marks=pytest.mark.slow), 401, 0])
def test_bad_weather_costs_a_warning_and_seconds_and_the_run_lies_offline(tmp_path, server, status: int) -> None:
    server.status = status
    done = job(tmp_path, "auto", "one")
    assert done.returncode == 0, done.stderr
    assert server.requests > 0
    assert done.stderr == ""
    assert done.stdout.count(WEATHER[status]) == 1
    assert done.stdout.count("unreachable") == (status == 0)
    assert f"upload later with wandb sync {tmp_path}/one/wandb" in done.stdout
    assert float(done.stdout.split("waited ")[1]) < 5.0
    found = records(tmp_path / "one")
    assert [end["exit_code"] for end in of("exit", found)] == [0]
    assert summary(found)["gmacs"] == 0.5
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"k" * 40 in p.read_bytes()]


def test_wandbs_process_killed_in_mid_run_and_the_next_job_records_again(tmp_path: Path) -> None:
    done = job(tmp_path, "offline", "killed,next")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("W&B could not log: ") == 1
    assert max(float(part.split()[0]) for part in done.stdout.split("waited ")[1:]) < 5.0
    assert [row["train_loss"] for row in rows(tmp_path / "killed")] == ["1.0", "0.5"]
    assert "history" in {record["type"] for record in records(tmp_path / "killed")}
    assert [end["exit_code"] for end in of("exit", records(tmp_path / "next"))] == [0]


def test_online_without_a_key_records_offline_and_never_asks(tmp_path: Path) -> None:
    """In a terminal, where wandb would prompt: nothing is typed, and the job ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", JOB, str(tmp_path), "online", "one"])
    seen, deadline = b"", time.monotonic() + 30
    try:
        while time.monotonic() < deadline and b"waited" not in seen:
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"no API key: set WANDB_API_KEY" in seen
    assert b"waited" in seen
    assert [end["exit_code"] for end in of("exit", records(tmp_path / "one"))] == [0]


# secrets


@pytest.mark.parametrize(
    ("value", "clean_value"),
    [
        ({"hf_token": "x", "hfToken": "x", "db.password": 5, "tokenizer": "x"}, {"tokenizer": "x"}),
        ({"class_token": True, "reg_tokens": 4, "monkey": "x", "token": None, "password": True}, None),
        ({"args": {"secret": ["x", "y"]}, "list": ["api_key=x lr=1"]}, {"list": ["api_key=*** lr=1"]}),
        ("https://me:pw@host/x?access_token=abc&a=1", "https://***@host/x?access_token=***&a=1"),
        ("KeyError: 'conv1'", None),
        ("unknown key: strategy.rats", None),
        ("wandb_api_key: abc", "wandb_api_key: ***"),
    ],
)
def test_secrets_are_masked_and_nothing_else(value: Any, clean_value: Any) -> None:
    expected = value if clean_value is None else clean_value
    found = mask(value)
    if isinstance(value, dict) and clean_value is not None:
        assert "x" not in json.dumps({k: v for k, v in found.items() if k not in clean_value})
        assert "***" in json.dumps(found)
        found = {k: v for k, v in found.items() if k in clean_value}
    assert found == expected


def test_wandb_is_found_beside_python() -> None:
    """The command that the log line names is installed with the package."""
    assert shutil.which("wandb", path=str(Path(sys.executable).parent))
