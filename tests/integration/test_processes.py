"""Several processes over gloo, started by torchrun from real commands.

Where only the ranks' work counts, they are forked with their libraries loaded, and no agent starts them.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, ClassVar, Self

import pytest
import torch
from safetensors.torch import load_file

import fork_server
from headstart.errors import RunFailed
from headstart.models import weights
from integration.test_resume import headstart, run_here

DIGITS = ("data.image_size=32", "data.train_per_class=5", "data.n_test=41", "epochs=2", "logger=csv")
NETWORK = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy.start=scratch")
LIVE = ("strategy=finetune", *NETWORK, "data.batch_size=6")
TWO = ("hardware=ddp_cpu", "hardware.devices=2")


def train(place: Path, *options: str, expect: int = 0, anew: bool = False) -> str:
    """`headstart train` in a process of its own, which starts torchrun; `anew`: as a user starts it."""
    code, said = headstart(place, "train", *options, f"output_dir={place / 'outputs'}", anew=anew)
    assert code == expect, said
    return said


def results(place: Path) -> list[dict[str, Any]]:
    found = sorted((place / "outputs").rglob("result.json"))
    return [json.loads(path.read_text()) | {"folder": path.parent} for path in found]


class Ranks:
    """In place of torchrun's agent: two forked ranks, which meet in a store of this process.

    `changes` is code that a rank runs before its work, by its number.
    """

    changes: ClassVar[dict[str, str]] = {}

    def __init__(self, command: tuple[str, ...], env: dict[str, str], **_: Any) -> None:
        assert command[1:3] == ("-m", "headstart.distributed.torchrun")
        self.returncode: int | None = None
        self._store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self._store.port),
                  "TORCHELASTIC_USE_AGENT_STORE": "True"}  # fmt: skip
        work = f"import sys\nfrom headstart import worker\nsys.exit(worker.entry({command[3]!r}))"
        self._ranks = [
            fork_server.start(
                before=f"{self.changes.get(rank, '')}\n{work}",
                env=env | shared | {"RANK": rank, "LOCAL_RANK": rank},
                output=(1, 2),
            )
            for rank in "01"
        ]

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> None:
        self.returncode = max(abs(rank.wait()) for rank in self._ranks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store = None


@pytest.fixture
def ranks_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headstart.distributed.torchrun.subprocess", SimpleNamespace(Popen=Ranks, TimeoutExpired=TimeoutError)
    )


@pytest.mark.slow
def test_two_processes_train_one_network_into_one_folder(tmp_path: Path) -> None:
    said = train(tmp_path, *DIGITS, *LIVE, *TWO, "logger=wandb", "logger.mode=offline", anew=True)
    assert "12 images per step (the last of an epoch: 4): batches of 6, 2 processes, 1 accumulated" in said
    assert said.count("test accuracy") == 1, "one process speaks"
    (result,) = results(tmp_path)
    assert result["hardware"]["devices"] == 2
    assert result["n_test"] == 41
    with (result["folder"] / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["index"]) for row in rows] == list(range(41)), "every test image once, in order"
    with (result["folder"] / "metrics.csv").open() as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == ["1", "2"]
    assert len(list((result["folder"] / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.usefixtures("ranks_forked")
def test_a_probe_and_a_checkpoint_have_the_same_metrics_on_one_and_on_two_processes(tmp_path: Path) -> None:
    """The checkpoint: that of a live phase whose rate moves nothing, and so of the same weights on both."""
    still = ("strategy.phases.head.probe=null", "strategy.phases.head.epochs=1", "optimizer.lr=1e-30")
    for name, options in (("probe", ()), ("checkpoint", (*still, "optimizer.weight_decay=0"))):
        for count in ("1", "2"):
            processes = ("hardware=ddp_cpu", f"hardware.devices={count}", "hardware.threads=1")
            run_here(tmp_path / name / count, *DIGITS, *NETWORK, *options, *processes)
        (one,), (two,) = results(tmp_path / name / "1"), results(tmp_path / name / "2")
        assert (one["hardware"]["devices"], two["hardware"]["devices"]) == (1, 2)
        assert one["n_test"] == 41
        assert one["test"] == two["test"]
        assert one["val"] == two["val"]
        ours, theirs = (load_file(each["folder"] / weights.FINAL) for each in (one, two))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


SWAPPED = """
from headstart.data import sources
make = sources.array_split
sources.array_split = lambda images, labels, name: make(images, 9 - labels, name)
"""


@pytest.mark.usefixtures("ranks_forked")
def test_ranks_with_other_labels_than_the_first_do_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "changes", {"1": SWAPPED})
    with pytest.raises(RunFailed, match="the data and classes of process 1 differ from those of process 0"):
        run_here(tmp_path, *DIGITS, *LIVE, *TWO, "hardware.threads=1")
    (metrics,) = tmp_path.rglob("metrics.csv")
    assert len(metrics.read_text().splitlines()) == 1, "no step was made: it has its heading only"


@pytest.mark.slow
def test_job_after_job_in_a_multirun_and_an_error_in_one_rank_is_told_once(tmp_path: Path) -> None:
    options = (*DIGITS, *LIVE, *TWO, "optimizer=sgd")
    said = train(tmp_path, "-m", *options, "optimizer.lr=0.01,1e30", expect=1)
    assert said.count("test accuracy") == 1
    told, _, summary = said.partition("1 of 2 jobs failed:")
    assert "phase all, epoch 1, step" in told
    assert told.count("it diverged") == 1
    assert "optimizer.lr=1e+30" in summary  # as Hydra's sweeper writes the number
    assert len(results(tmp_path)) == 1
    assert train(tmp_path, "-m", *options, "optimizer.lr=0.01").count("is complete") == 1


BUSY_THREAD = """
import sys, threading, time, torch
from headstart import worker

def work():
    numbers = torch.ones(100)
    while True:
        numbers + numbers

worker.main = lambda place: 0
threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
sys.exit(worker.entry("nowhere"))
"""


def test_a_rank_that_is_done_ends_well_whatever_a_thread_still_does() -> None:
    """As one of gloo's does now and then: it asks for the interpreter that is being taken down, and aborts the rank."""
    ended = subprocess.run([sys.executable, "-c", BUSY_THREAD], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def ranks_of(parent: int) -> list[int]:
    """The processes below `parent` that are ranks, in the order of their numbers."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"headstart.worker" in line and _descends(int(folder.name), parent):
            (number,) = (entry[5:] for entry in environment if entry.startswith(b"RANK="))
            found[int(number)] = int(folder.name)
    return [found[number] for number in sorted(found)]


def _descends(pid: int, parent: int) -> bool:
    while pid > 1:
        if pid == parent:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def started(place: Path, *options: str, epochs: int = 100000) -> tuple[fork_server.Process, list[int]]:
    """A run of two processes that has finished an epoch, and its ranks."""
    process = fork_server.start(
        "train", *DIGITS, *LIVE, *TWO, f"epochs={epochs}", *options, f"output_dir={place / 'outputs'}"
    )
    assert process.said is not None
    for line in process.said:
        if f"/{epochs}  train loss" in line:
            return process, ranks_of(process.pid)
    raise AssertionError(f"ended with {process.wait()}")


def ended(process: fork_server.Process) -> tuple[int, str]:
    """The exit code of a process, and what it still said."""
    assert process.said is not None
    with process.said:
        said = process.said.read()
    return process.wait(60), said


def gone(pids: list[int], within: float) -> bool:
    end = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_rank_that_dies_takes_the_job_down_with_its_cause(dies: int, tmp_path: Path) -> None:
    process, ranks = started(tmp_path)
    os.kill(ranks[dies], signal.SIGKILL)
    began = time.monotonic()
    code, said = ended(process)
    assert time.monotonic() - began < 15
    assert code == 1
    assert f"process {dies} of 2 died of SIGKILL" in said
    assert gone(ranks, within=5)
    (state,) = (tmp_path / "outputs").rglob("state.json")
    assert json.loads(state.read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.usefixtures("ranks_forked")
def test_a_signal_stops_all_ranks_at_a_step_and_the_run_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    process, ranks = started(tmp_path / "stopped", "hardware.threads=1", epochs=20)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 128 + signal.SIGTERM, said
    assert "stopped by SIGTERM" in said
    assert gone(ranks, within=5)
    assert len(list((tmp_path / "stopped" / "outputs").rglob("step-*.ckpt"))) == 1
    options = (*DIGITS, *LIVE, *TWO, "epochs=20", "hardware.threads=1")
    for name in ("stopped", "other"):
        run_here(tmp_path / name, *options)
    logs = [next((tmp_path / name / "outputs").rglob("train.log")).read_text() for name in ("stopped", "other")]
    assert ["goes on from epoch" in log for log in logs] == [True, False]
    (one,), (other,) = results(tmp_path / "stopped"), results(tmp_path / "other")
    assert one["test"] == other["test"]
    ours, theirs = (load_file(each["folder"] / weights.FINAL) for each in (one, other))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
def test_whoever_kills_the_command_ends_its_ranks_and_frees_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(Exception):
        pass

    def start(*_: Any) -> None:
        raise Held

    process, ranks = started(tmp_path)
    process.send_signal(signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    assert gone(ranks, within=15)
    monkeypatch.setattr("headstart.distributed.torchrun.start", start)
    with pytest.raises(Held):
        run_here(tmp_path, *DIGITS, *LIVE, *TWO, "epochs=100000")
