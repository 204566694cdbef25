"""Runs killed at a chosen moment, for real, and started again: they end as the uninterrupted one did, bit for bit.

The processes are forked with their libraries loaded; the uninterrupted run happens in this process. One case of each
kind of run starts `python -m headstart` anew each time, so that nothing of a process outlives it but its files.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fork_server
from conftest import compose
from headstart.models import weights

# Ends its own process, as the system would, at the n-th call of a function, before or after it has done its work.
ENDS = """
import importlib, os, signal
where, name, nth, moment = {!r}, {!r}, {!r}, {!r}
module, *path = where.split(":")
owner = importlib.import_module(module)
for part in path:
    owner = getattr(owner, part)
original, calls = getattr(owner, name), 0
def watched(*args, **kwargs):
    global calls
    calls += 1
    if calls == nth and moment == "before":
        {end}
    value = original(*args, **kwargs)
    if calls == nth:
        {end}
    return value
setattr(owner, name, watched)
"""
MAIN = """
import sys
from headstart.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

# Live, augmented, with batch norm, dropout, momentum, a schedule, two phases and a short last batch.
LIVE = (
    "model=timm", "model.name=test_resnet", "model.weights=none", "+model.args.drop_rate=0.3", "strategy=head_then_all",
    "strategy.start=scratch", "strategy.phases.head.probe=null", "strategy.phases.head.epochs=2",
    "strategy.phases.all.epochs=2", "augment=standard",
    "data.image_size=32", "data.train_per_class=5", "data.n_test=21", "data.batch_size=12", "hardware=cpu",
    "hardware.threads=1", "hardware.accumulate=2", "logger=csv", "checkpoint_every=0",
)  # fmt: skip
# A probe on cached features, then partial fine-tuning on the features of another prefix.
CACHED = (
    "model=efficientnet_lite0", "strategy=head_then_all", "augment=none",
    "~strategy.phases.all.rates.backbone", "+strategy.phases.all.rates.depth1-2=1",
    "+strategy.phases.all.rates.backbone=null",
    "strategy.phases.all.epochs=2", "data.image_size=32", "data.train_per_class=4", "data.n_test=21", "hardware=cpu",
    "hardware.threads=1", "logger=csv", "checkpoint_every=0",
)  # fmt: skip
STEP = "headstart.training.module:PhaseModule", "training_step"
SAVE = "headstart.storage.checkpoints", "write"
BEST = "headstart.models.weights", "save"
SHARD = "headstart.features.extractor:FeatureStore", "write"
RESULT = "headstart.storage.runs:Run", "complete"
REPLACE = "pathlib:Path", "replace"


def headstart(place: Path, *arguments: str, before: str = "", anew: bool = False) -> tuple[int, str]:
    """Run `headstart ARGUMENTS` in a process of its own, `before` first; returns its exit code and what it said.

    Args:
        anew: start Python for it.
    """
    if anew:
        command = (sys.executable, "-c", before + MAIN, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=300, check=False)
    else:
        done = fork_server.run(*arguments, before=before, cwd=place)
    return done.returncode, done.stdout + done.stderr


def train(place: Path, *options: str, anew: bool = False) -> str:
    """`headstart train`, to its end."""
    code, said = headstart(place, "train", *options, f"output_dir={place / 'outputs'}", anew=anew)
    assert code == 0, said
    return said


def killed(place: Path, at: tuple[str, str], nth: int, moment: str, *options: str, anew: bool = False) -> None:
    """`headstart train`, ended by SIGKILL at the `nth` call of `at`, `moment` it has done its work."""
    before = ENDS.format(*at, nth, moment, end="os.kill(os.getpid(), signal.SIGKILL)")
    code, said = headstart(place, "train", *options, f"output_dir={place / 'outputs'}", before=before, anew=anew)
    assert code == -signal.SIGKILL, f"{at} was not called {nth} times:\n{said}"


def run_here(place: Path, *options: str) -> None:
    """The same run in this process."""
    from headstart import train

    train.run(compose(*options, f"output_dir={place / 'outputs'}"), list(options))


def outcome(place: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[list[str]]]:
    """Final weights, what the result says of accuracy and work, and the curves without their seconds."""
    (path,) = (place / "outputs").rglob("result.json")
    result = json.loads(path.read_text())
    kept = {
        key: result[key] for key in ("status", "test", "val", "epochs", "backbone_forwards", "params", "config_hash")
    }
    kept["phases"] = [{key: value for key, value in phase.items() if key != "seconds"} for phase in result["phases"]]
    curves = [line.split(",")[:-1] for line in (path.parent / "metrics.csv").read_text().splitlines()]
    leftovers = [each.name for each in path.parent.rglob(".*") if each.name != ".lock"]
    assert not leftovers, "no half-written file is left"
    assert not list(path.parent.rglob("step-*.ckpt")), "a completed run keeps no checkpoint"
    return load_file(path.parent / weights.FINAL), kept, curves


def same(one: Path, other: Path) -> None:
    (ours, result, curves), (theirs, expected, expected_curves) = outcome(one), outcome(other)
    assert result == expected
    assert curves == expected_curves
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """The folder of an uninterrupted run of these options; made once."""
    made: dict[tuple[str, ...], Path] = {}

    def run(options: tuple[str, ...]) -> Path:
        if options not in made:
            made[options] = tmp_path_factory.mktemp("undisturbed")
            run_here(made[options], *options)
        return made[options]

    return run


@pytest.mark.parametrize(
    ("at", "nth", "moment", "anew"),
    [
        pytest.param(STEP, 2, "before", False, id="before the second step, accumulating", marks=pytest.mark.slow),
        pytest.param(STEP, 4, "after", True, id="in the middle of an epoch", marks=pytest.mark.slow),
        pytest.param(SAVE, 2, "before", False, id="before a checkpoint"),
        pytest.param(SAVE, 3, "after", False, id="after a checkpoint at an epoch's end", marks=pytest.mark.slow),
        pytest.param(STEP, 10, "before", False, id="in the second phase", marks=pytest.mark.slow),
        pytest.param(REPLACE, 9, "before", False, id="a file written, not yet in its place", marks=pytest.mark.slow),
    ],
)
def test_a_live_run_that_was_killed_ends_as_if_it_had_not_been(
    at: tuple[str, str], nth: int, moment: str, anew: bool, tmp_path: Path,
    undisturbed: Callable[[tuple[str, ...]], Path],
) -> None:  # fmt: skip
    killed(tmp_path, at, nth, moment, *LIVE, anew=anew)
    train(tmp_path, *LIVE, anew=anew)
    same(tmp_path, undisturbed(LIVE))


@pytest.mark.slow
@pytest.mark.parametrize("nth", [5, 8])
@pytest.mark.parametrize(
    "way", [("hardware.workers=2",), ("data.storage=stream",), ("data.storage=stream", "hardware.workers=2")]
)
def test_how_batches_are_made_changes_nothing(
    way: tuple[str, ...], nth: int, tmp_path: Path, undisturbed: Callable[[tuple[str, ...]], Path]
) -> None:
    killed(tmp_path, STEP, nth, "after", *LIVE, *way)
    train(tmp_path, *LIVE, *way)
    same(tmp_path, undisturbed(LIVE))


@pytest.mark.parametrize(
    ("at", "nth", "moment", "anew"),
    [
        pytest.param(SHARD, 2, "before", False, id="in feature extraction", marks=pytest.mark.slow),
        pytest.param(BEST, 1, "after", False, id="between the phases", marks=pytest.mark.slow),
        pytest.param(STEP, 2, "after", True, id="in a phase on features", marks=pytest.mark.slow),
        pytest.param(BEST, 3, "before", False, id="while the final weights are written", marks=pytest.mark.slow),
        pytest.param(RESULT, 1, "before", False, id="before the result"),
        pytest.param(RESULT, 1, "after", False, id="right after the result", marks=pytest.mark.slow),
    ],
)
def test_a_run_on_features_that_was_killed_ends_as_if_it_had_not_been(
    at: tuple[str, str], nth: int, moment: str, anew: bool, tmp_path: Path,
    undisturbed: Callable[[tuple[str, ...]], Path],
) -> None:  # fmt: skip
    killed(tmp_path, at, nth, moment, *CACHED, anew=anew)
    train(tmp_path, *CACHED, anew=anew)
    same(tmp_path, undisturbed(CACHED))


def checkpoints(place: Path) -> list[Path]:
    return sorted((place / "outputs").rglob("step-*.ckpt"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, undisturbed: Callable[[tuple[str, ...]], Path]
) -> None:
    killed(tmp_path, SAVE, 3, "after", *LIVE)
    before, newest = checkpoints(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-100])
    said = train(tmp_path, *LIVE)
    assert f"{newest.name} is damaged" in said
    assert "goes on from epoch 2, 0 of 4 batches done" in said, before.name
    same(tmp_path, undisturbed(LIVE))


@pytest.mark.slow
def test_damaged_weights_of_a_finished_phase_are_named_and_it_is_fitted_again(
    tmp_path: Path, undisturbed: Callable[[tuple[str, ...]], Path]
) -> None:
    killed(tmp_path, STEP, 1, "after", *CACHED)
    (best,) = (tmp_path / "outputs").rglob("head/best.safetensors")
    best.write_bytes(best.read_bytes()[:-1] + b"?")
    assert "head/best.safetensors is damaged or missing" in train(tmp_path, *CACHED)
    same(tmp_path, undisturbed(CACHED))


@pytest.mark.parametrize(
    ("signum", "batch", "workers"),
    [
        pytest.param(signal.SIGTERM, 2, 0, id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, 2, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 1, 0, id="SIGTERM in the middle of an accumulation"),
    ],
)
def test_a_signal_stops_at_the_next_step_and_says_how_to_go_on(
    signum: signal.Signals, batch: int, workers: int, tmp_path: Path, undisturbed: Callable[[tuple[str, ...]], Path]
) -> None:
    """As a terminal does it: the signal goes to the loader's workers too."""
    options = [option for option in LIVE if not option.startswith("checkpoint_every")]
    options.append(f"hardware.workers={workers}")
    before = ENDS.format(*STEP, batch, "after", end=f"os.killpg(0, {int(signum)})")
    code, said = headstart(tmp_path, "train", *options, f"output_dir={tmp_path / 'outputs'}", before=before)
    assert code == 128 + signum, said
    assert f"stopped by {signum.name}; the same command goes on from there" in said
    assert "Traceback" not in said
    (state,) = (tmp_path / "outputs").rglob("state.json")
    assert json.loads(state.read_text())["status"] == "interrupted"
    assert len(checkpoints(tmp_path)) == 1, "written for this signal: none was due"
    assert "goes on from epoch 1, 2 of 4 batches done" in train(tmp_path, *options)
    same(tmp_path, undisturbed(LIVE))


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    slow = """
import time
from headstart.training.module import PhaseModule
PhaseModule.training_step = lambda *_: [print("in a step", flush=True), time.sleep(99)]
"""
    process = fork_server.start("train", *LIVE, f"output_dir={tmp_path / 'outputs'}", before=slow)
    assert process.said is not None
    with process.said:
        assert any("in a step" in line for line in process.said)
        process.send_signal(signal.SIGTERM)
        assert any("once more to stop at once" in line for line in process.said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_forced_rerun_that_was_cut_off_goes_on(
    tmp_path: Path, undisturbed: Callable[[tuple[str, ...]], Path]
) -> None:
    train(tmp_path, *LIVE)
    killed(tmp_path, SAVE, 3, "after", *LIVE, "rerun=true")
    assert "goes on from epoch" in train(tmp_path, *LIVE, "rerun=true")
    same(tmp_path, undisturbed(LIVE))


@pytest.mark.slow
def test_a_killed_multirun_skips_what_is_done_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    jobs = ("-m", "seed=0,1,2", *LIVE)
    killed(tmp_path, STEP, 22, "after", *jobs)
    finished = list((tmp_path / "outputs").rglob("result.json"))
    assert len(finished) == 1
    stamp = finished[0].stat().st_mtime_ns
    said = train(tmp_path, *jobs)
    assert said.count("is complete") == 1
    assert said.count("goes on from epoch") == 1
    assert finished[0].stat().st_mtime_ns == stamp
    assert train(tmp_path, *jobs).count("is complete") == 3
    ours = {
        path.parent.name: json.loads(path.read_text())["test"] for path in (tmp_path / "outputs").rglob("result.json")
    }
    for seed in range(3):
        run_here(tmp_path / "undisturbed", f"seed={seed}", *LIVE)
    other = tmp_path / "undisturbed"
    theirs = {path.parent.name: json.loads(path.read_text())["test"] for path in other.rglob("result.json")}
    assert ours == theirs
    assert len(ours) == 3
