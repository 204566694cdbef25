"""`headstart train -m hydra/sweeper=search`: trials are runs, the folders are the record, a kill changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import fork_server
from headstart.preflight.command import examine

FIXED = (
    "model=lenet5", "strategy=feature_extraction", "strategy.start=scratch", "head=logistic", "data.train_per_class=6",
    "data.n_test=40", "hardware=cpu", "hardware.threads=1", "logger=csv",
)  # fmt: skip
SPACE = ("label_smoothing=interval(0,0.5)", "data.image_size=32,40,48")
SEARCH = ("train", "-m", "hydra/sweeper=search", *FIXED, *SPACE)
# Kills the process when the n-th run of it is at a place.
KILL = """
import os, signal
from headstart.storage.runs import Run
left, whole = [{}], Run.{}
def kill(run, *args, **options):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(run, *args, **options)
Run.{} = kill
"""
# The second run of the process fails.
FAIL = """
from headstart import train
left, work = [2], train.work
def once(*args, **options):
    left[0] -= 1
    if not left[0]:
        raise RuntimeError("no luck")
    return work(*args, **options)
train.work = once
"""


def search(place: Path, trials: int, *more: str, **options: Any) -> Any:
    words = (*SEARCH, f"output_dir={place}", f"hydra.sweeper.n_trials={trials}", *more)
    return fork_server.run(*words, cwd=place.parent, **options)


def read_trials(place: Path) -> list[tuple[int, float, int, float]]:
    """The number, the two values and the validation accuracy of each trial, by number."""
    found = []
    for path in place.glob("runs/*/result.json"):
        config = yaml.safe_load((path.parent / "config.yaml").read_text())
        accuracy = json.loads(path.read_text())["val"]["accuracy"]
        found.append((config["trial"], config["label_smoothing"], config["data"]["image_size"], accuracy))
    return sorted(found, key=lambda each: (each[0] is not None, each))


def check_a_killed_search(tmp_path: Path, trials: int, kills: tuple[tuple[int, str], ...]) -> None:
    assert search(tmp_path / "whole", trials).returncode == 0
    for run, place in kills:
        assert search(tmp_path / "killed", trials, before=KILL.format(run, place, place)).returncode == -9
    last = search(tmp_path / "killed", trials)
    assert last.returncode == 0, last.stdout
    whole = read_trials(tmp_path / "whole")
    assert read_trials(tmp_path / "killed") == whole
    assert [each[0] for each in whole] == list(range(trials))
    assert "best: val_accuracy" in last.stdout


def test_a_killed_search_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    check_a_killed_search(tmp_path, 3, ((1, "complete"), (2, "begin")))
    again = search(tmp_path / "killed", 3)
    assert "3 trials: 3 there already, 0 to run" in again.stdout
    assert "3 skipped as already complete" in again.stdout


@pytest.mark.slow
def test_forty_trials_killed_four_times_are_forty_and_the_same(tmp_path: Path) -> None:
    check_a_killed_search(tmp_path, 40, ((3, "complete"), (6, "begin"), (9, "complete"), (12, "update_state")))


def test_runs_of_a_grid_are_trials(tmp_path: Path) -> None:
    place = tmp_path / "outputs"
    grid = ("train", "-m", *FIXED, f"output_dir={place}", "label_smoothing=0.1,0.9", "data.image_size=32")
    assert fork_server.run(*grid, cwd=tmp_path).returncode == 0
    done = search(place, 3)
    assert done.returncode == 0, done.stdout
    assert "3 trials: 1 there already, 1 of them runs of other commands, 2 to run" in done.stdout
    assert [each[0] for each in read_trials(place)] == [None, None, 0, 1], "0.9 lies outside of the space"


def test_two_launches_share_the_trials(tmp_path: Path) -> None:
    place = tmp_path / "outputs"
    words = (*SEARCH, f"output_dir={place}", "hydra.sweeper.n_trials=6")
    both = [fork_server.start(*words, cwd=tmp_path) for _ in range(2)]
    said = "".join(fork_server.read_to_end(launch) for launch in both)
    assert [each[0] for each in read_trials(place)] == list(range(6))
    assert said.count("test accuracy") - said.count("(test accuracy") == 6, "no run was done twice"


def test_a_trial_that_fails_leaves_the_others_running(tmp_path: Path) -> None:
    done = search(tmp_path / "outputs", 3, before=FAIL)
    assert done.returncode == 1
    assert "3 jobs in" in done.stdout
    assert "2 done, 0 skipped as already complete, 1 failed" in done.stdout
    assert [each[0] for each in read_trials(tmp_path / "outputs")] == [0, 2]
    assert search(tmp_path / "outputs", 3).returncode == 0
    assert [each[0] for each in read_trials(tmp_path / "outputs")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr=-1.0: must be a number above 0"),
        (["hparams_search=finetune", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be a whole number"),
        (["hparams_search=finetune", "hydra.sweeper.objective=test_accuracy"], "test images are looked at once"),
        (["hparams_search=finetune", "rerun=true"], "rerun=true: a search runs no trial twice"),
        (["hparams_search=finetune", "hydra/launcher=joblib"], "hydra/launcher"),
        (["seed=0,1", "hydra.sweeper.objective=[val_accuracy,seconds]", "prune=median"], "with two objectives"),
        (["seed=0"], "hydra/sweeper=search: nothing to choose"),
        (["optimizer.lr=0.1,1", "+sweep=[seed=1]"], "sweep: names the jobs, and hydra/sweeper chooses its own"),
    ],
)
def test_what_is_wrong_with_a_search_is_said_before_it_runs(words: list[str], problem: str) -> None:
    found = examine(["-m", "hydra/sweeper=search", *words], libraries=False).problems
    assert any(problem in each for each in found), found


def test_a_search_on_ray_is_refused_with_what_to_do_instead() -> None:
    pytest.importorskip("ray", reason="an extra that not everybody has")
    (problem,) = examine(["-m", "hparams_search=finetune", "hydra/launcher=ray"], libraries=False).problems
    assert problem.startswith("hydra/launcher: a search runs its trials one after the other in its own process")
    assert "start the same command in several terminals" in problem


def test_a_missing_extra_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.search.extra.find_spec", lambda name: None)
    found = examine(["-m", "hparams_search=finetune"], libraries=False).problems
    assert found == ["hydra/sweeper=search: Optuna is not installed: pip install 'headstart[search]'"]
