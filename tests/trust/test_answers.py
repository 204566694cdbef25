"""`headstart predict --sets --abstain` on real runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from headstart.cli.main import main
from headstart.errors import UserError
from headstart.trust.answers import make_judge
from predict.runs import digits, load


@pytest.mark.slow
def test_the_command_says_sets_and_withholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = load("fitted").folder
    assert folder is not None
    images = sorted(str(path) for path in digits().glob("*/*.png"))[::6]
    table = tmp_path / "answers.csv"
    words = ["predict", str(folder), *images, "--json", "--sets", "0.8", "--abstain", "0.5", "--csv", str(table)]
    assert main([*words, "--top", "2", "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "on the run's test images" in shown.err
    lines = [json.loads(line) for line in shown.out.splitlines()]
    judge = make_judge(load("fitted"), 0.8, 0.5)
    whole = load("fitted").predict(images, top=10)
    for line, each in zip(lines, whole, strict=True):
        pairs = zip(each.labels, each.probabilities, strict=True)
        assert line["set"] == [label for label, chance in pairs if chance >= judge.set_threshold]
        assert line["withheld"] == (each.probabilities[0] < judge.answer_threshold)
        assert line["labels"] == list(each.labels[:2])
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [json.loads(row["set"]) for row in rows] == [line["set"] for line in lines]
    assert main(["predict", str(folder), images[0], "--sets", "0.8", "--abstain", "0.5", "--device", "cpu"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["image", "answer", "%", "withheld", "set", "then"]
    assert row[heading.index("withheld") :].split()[0] == ("yes" if lines[0]["withheld"] else "no")
    assert row[heading.index("set") :].startswith("{" + ", ".join(lines[0]["set"]) + "}")


def test_thresholds_are_of_validation_images_alone() -> None:
    network = load("fitted")
    assert network.folder is not None
    with np.load(network.folder / "predictions.npz") as file:
        chances, labels = file["val_probabilities"], file["val_labels"]
    true = np.sort(chances[np.arange(len(labels)), labels])
    judge = make_judge(network, 0.8, None)
    assert (true >= judge.set_threshold).sum() == np.ceil(0.8 * (len(labels) + 1))


def test_what_has_no_clean_validation_images_is_refused_in_words() -> None:
    from dataclasses import replace

    network = load("fitted")
    with pytest.raises(UserError, match="is no run"):
        make_judge(replace(network, folder=None), 0.9, None)
    refitted = replace(network.route, probe=type("Probe", (), {"refit": True})())  # type: ignore[type-var]
    with pytest.raises(UserError, match="fitted once more with its validation images"):
        make_judge(replace(network, route=refitted), 0.9, None)
    with pytest.raises(UserError, match="is missing"):
        make_judge(load("ridge on stages"), 0.9, None)


@pytest.mark.parametrize("word", ["90", "0", "1", "nan", "x"])
def test_a_share_that_is_none_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["predict", "efficientnet_lite0", "a.jpg", "--sets", word])
    assert refused.value.code == 2
    assert "is not a number between 0 and 1" in capsys.readouterr().err
