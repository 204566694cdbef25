"""Several processes over gloo, started by torchrun from real commands."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from headstart.models import weights

DIGITS = ("data.image_size=32", "data.train_per_class=5", "data.n_test=41", "epochs=2", "logger=csv")
LIVE = (
    "strategy=finetune",
    "model=timm",
    "model.name=test_resnet",
    "model.weights=none",
    "strategy.start=scratch",
    "data.batch_size=6",
)
TWO = ("hardware=ddp_cpu", "hardware.devices=2")


def command(place: Path, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "headstart", "train", *options, f"output_dir={place / 'outputs'}")


def train(place: Path, *options: str, expect: int = 0) -> str:
    """`headstart train` as a user starts it."""
    done = subprocess.run(command(place, *options), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(place: Path) -> list[dict[str, Any]]:
    found = sorted((place / "outputs").rglob("result.json"))
    return [json.loads(path.read_text()) | {"folder": path.parent} for path in found]


def test_two_processes_train_one_network_into_one_folder(tmp_path: Path) -> None:
    said = train(tmp_path, *DIGITS, *LIVE, *TWO, "logger=wandb", "logger.mode=offline")
    assert "12 images per step: batches of 6, 2 process(es), 1 accumulated  |  lr 0.001, not scaled by it" in said
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


def test_a_probe_and_a_checkpoint_have_the_same_metrics_on_one_and_on_two_processes(tmp_path: Path) -> None:
    """The checkpoint: that of a live phase whose rate moves nothing, and so of the same weights on both."""
    still = ("strategy.phases.head.probe=null", "strategy.phases.head.epochs=1", "optimizer.lr=1e-30")
    for name, options in (("probe", ()), ("checkpoint", (*still, "optimizer.weight_decay=0"))):
        for count in ("1", "2"):
            place = tmp_path / name / count
            place.mkdir(parents=True)
            processes = ("hardware=ddp_cpu", f"hardware.devices={count}", "hardware.threads=1")
            train(place, *DIGITS, *options, *processes)
        (one,), (two,) = results(tmp_path / name / "1"), results(tmp_path / name / "2")
        assert (one["hardware"]["devices"], two["hardware"]["devices"]) == (1, 2)
        assert one["n_test"] == 41
        assert one["test"] == two["test"]
        assert one["val"] == two["val"]
        ours, theirs = (load_file(each["folder"] / weights.FINAL) for each in (one, two))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
def test_job_after_job_in_a_multirun(tmp_path: Path) -> None:
    said = train(tmp_path, "-m", "seed=0,1", "strategy=head_then_all", *DIGITS, *TWO)
    assert said.count("test accuracy") == 2
    assert sorted(result["seed"] for result in results(tmp_path)) == [0, 1]
    again = train(tmp_path, "-m", "seed=0,1", "strategy=head_then_all", *DIGITS, *TWO)
    assert again.count("is complete") == 2


BUSY_THREAD = """
import sys, threading, time, torch
from headstart.distributed import torchrun

def work():
    numbers = torch.ones(100)
    while True:
        numbers + numbers

torchrun.rank = lambda place: 0
threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
sys.exit(torchrun.main("nowhere", "rank"))
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
        if b"rank" in line and b"headstart.distributed.torchrun" in line and _descends(int(folder.name), parent):
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


def started(place: Path, *options: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A run of two processes that has finished an epoch, and its ranks."""
    process = subprocess.Popen(
        command(place, *DIGITS, *LIVE, *TWO, "epochs=100000", *options), stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "/100000  train loss" in line or "/12  train loss" in line:
            return process, ranks_of(process.pid)
    raise AssertionError(f"ended with {process.wait()}")


def gone(pids: list[int], within: float) -> bool:
    end = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("dies", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_dies_takes_the_job_down_with_its_cause(dies: int, tmp_path: Path) -> None:
    process, ranks = started(tmp_path)
    os.kill(ranks[dies], signal.SIGKILL)
    began = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == 1
    assert f"process {dies} of 2 died of SIGKILL" in said
    assert gone(ranks, within=5)
    (state,) = (tmp_path / "outputs").rglob("state.json")
    assert json.loads(state.read_text())["status"] == "failed"


@pytest.mark.slow
def test_an_error_in_one_rank_is_told_once_and_ends_the_job(tmp_path: Path) -> None:
    said = train(tmp_path, *DIGITS, *LIVE, *TWO, "optimizer=sgd", "optimizer.lr=1e30", expect=1)
    assert "it diverged" in said
    assert "phase all, epoch 1, step" in said
    assert said.count("it diverged") == 1


def test_a_signal_stops_all_ranks_at_a_step_and_the_run_goes_on_from_there(tmp_path: Path) -> None:
    process, ranks = started(tmp_path)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "stopped by SIGTERM" in said
    assert gone(ranks, within=5)
    assert len(list((tmp_path / "outputs").rglob("step-*.ckpt"))) == 1


@pytest.mark.slow
def test_whoever_kills_the_command_ends_its_ranks_and_frees_its_lock(tmp_path: Path) -> None:
    process, ranks = started(tmp_path, "checkpoint_every=0")
    process.kill()
    process.communicate(timeout=60)
    assert gone(ranks, within=15)
    other, _ = started(tmp_path, "checkpoint_every=0")
    other.send_signal(signal.SIGTERM)
    assert other.communicate(timeout=60)
    assert other.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_resumed_run_of_two_processes_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    options = (*DIGITS, *LIVE, *TWO, "epochs=12", "checkpoint_every=0", "hardware.threads=1")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    train(tmp_path / "one", *options)
    process = subprocess.Popen(command(tmp_path / "other", *options), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "/100000  train loss" in line or "/12  train loss" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "goes on from epoch" in train(tmp_path / "other", *options)
    (one,), (other,) = results(tmp_path / "one"), results(tmp_path / "other")
    assert one["test"] == other["test"]
    ours, theirs = (load_file(each["folder"] / weights.FINAL) for each in (one, other))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
