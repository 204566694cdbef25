"""Images unlike the training images: 5 % of other test images are marked, and photographs among digits are found."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

import headstart
from headstart.cli.main import main
from headstart.errors import UserError
from headstart.predict.network import Network
from headstart.trust import unlike
from headstart.visualize.run_data import read_run_data
from predict.runs import load

_scratch = TemporaryDirectory(prefix="headstart-unlike-")


@cache
def photographs() -> list[np.ndarray]:
    """Sixty parts of two photographs."""
    rng, found = np.random.default_rng(0), []
    for photograph in load_sample_images().images:
        for side in rng.integers(60, 400, 30).tolist():
            y, x = (int(rng.integers(0, size - side)) for size in photograph.shape[:2])
            found.append(photograph[y : y + side, x : x + side])
    return found


@cache
def make_run(strategy: str) -> Network:
    """A run on all 1,797 digits, half of whose training images are for validation."""
    words = ["data=digits", "data.train_per_class=null", "data.val_fraction=0.5", "data.test_fraction=0.33"]
    words += [f"strategy={strategy}", "epochs=1", "logger=none", "hardware=cpu", f"output_dir={_scratch.name}"]
    return headstart.load(headstart.run(words).folder, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["feature_extraction", "finetune"])
def test_five_in_a_hundred_of_the_test_images_are_marked_and_photographs_are_found(strategy: str) -> None:
    run = make_run(strategy)
    familiar, data = unlike.read_or_learn(run), read_run_data(run)
    test = unlike.compute_features(run, data.make_reader(data.parts["test"]))
    others = unlike.compute_features(run, run.transform.make_reader(photographs()))
    scores, far = (unlike.measure_distances(familiar.features, each) for each in (test, others))
    alarms = (scores > familiar.threshold).mean()
    assert abs(alarms - 0.05) <= 0.02
    assert alarms == pytest.approx(familiar.alarms)
    labels = np.repeat([0, 1], [len(scores), len(far)])
    assert roc_auc_score(labels, np.concatenate([scores, far])) >= 0.95
    assert familiar.find_unlike(run, photographs()).mean() > 0.9
    again = unlike.read_or_learn(run)
    assert torch.equal(again.features, familiar.features), "the second time they are read"
    assert (again.threshold, again.n_val) == (familiar.threshold, len(data.parts["val"]))


@pytest.mark.slow
def test_the_command_marks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("feature_extraction")
    photo, digit = tmp_path / "photo.png", tmp_path / "digit.png"
    Image.fromarray(photographs()[0]).save(photo)
    train = read_run_data(run).parts["train"]
    Image.fromarray(train.split.images[int(train.rows[0])]).save(digit)
    (tmp_path / "broken.png").write_text("no image")
    words = ["predict", str(run.folder), str(photo), str(tmp_path / "broken.png"), str(digit), "--unlike"]
    assert main([*words, "--device", "cpu", "--json"]) == 1
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line.get("unlike") for line in lines] == [True, None, False]
    assert "% of the run's" in shown.err
    assert main([*words, "--device", "cpu", "--calibrated"]) == 1
    heading, first, _, last = capsys.readouterr().out.splitlines()
    assert "% calibrated" in heading
    place = heading.index("unlike")
    assert (first[place:].split()[0], last[place:].split()[0]) == ("yes", "no")


def test_the_threshold_leaves_a_twentieth_above_it() -> None:
    scores = np.arange(1, 100) / 100
    assert unlike.choose_threshold(scores) == 0.95
    assert unlike.choose_threshold(scores[:19]) == 0.19
    with pytest.raises(UserError, match="needs 19 validation images to choose a threshold, and the run has 18"):
        unlike.choose_threshold(scores[:18])


def test_the_distance_is_that_to_the_fifth_neighbour() -> None:
    angles = torch.arange(8) * 0.1
    train = torch.stack([angles.cos(), angles.sin()], 1).half()
    (found,) = unlike.measure_distances(train, torch.tensor([[1.0, 0.0]]).half())
    assert found == pytest.approx(2 * np.sin(0.2), abs=1e-3)


def test_what_has_no_training_images_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="an export holds nothing of its training images"):
        unlike.read_or_learn(replace(load("fitted"), folder=None))
