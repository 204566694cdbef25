"""What `make_grid` writes and refuses, called as the command calls it, on networks that are small."""

from __future__ import annotations

import csv
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.cli import visualize
from headstart.errors import UserError
from headstart.tracking import console
from headstart.visualize.features.grid import make_grid

FEW = ("--steps", "1")


def read_options(*words: str) -> Namespace:
    return visualize.make_parser().parse_args(["network", "features", *FEW, *words])


def test_a_network_of_fixed_size_gets_pictures_of_its_own_size(tmp_path: Path) -> None:
    network = headstart.load("vit_tiny_patch16_224", "cpu")
    make_grid(network, read_options("--layers", "blocks.0", "--units", "1", "1"), tmp_path)
    (file,) = (tmp_path / "features").iterdir()
    assert Image.open(file).size == (224, 224)
    with pytest.raises(UserError, match=r"--size 128: vit_tiny_patch16_224 takes no images .*; its own is 224"):
        make_grid(network, read_options("--size", "128"), tmp_path)


def test_classes_whose_names_are_alike_have_a_picture_each(tmp_path: Path) -> None:
    network = headstart.load("lenet5", "cpu")
    names = ["+", "=", "a\nb", "a/b", *(f"{'long ' * 40}{number}" for number in range(6))]
    options = read_options("--classes", "+", "=", "2", "3", "4", "5", "0", "+")
    sheet, table = make_grid(replace(network, classes=names), options, tmp_path)
    assert (sheet.name, table.name) == ("features-classes.png", "features-classes.csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    files = {row["file"] for row in rows}
    assert len(rows) == len(files) == 6
    assert files == {path.name for path in (tmp_path / "features").iterdir()}
    assert [row["unit"] for row in rows[:2]] == ["'+", "'="]  # a spreadsheet runs neither


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--direction", "x.npy"], "--direction: is of --objective direction"),
        (["--objective", "layer", "--units", "3"], "--objective layer: excites no single channels"),
        (["--size", "1000000"], "--size 1000000: must be 8 to 2,048"),
        (["--diverse", "1000000"], "--diverse 1000000: must be at most 64"),
        (["--most", "0", "--images", "x.png"], "--most 0: looks through no image"),
    ],
)
def test_what_would_be_ignored_or_fail_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        make_grid(headstart.load("lenet5", "cpu"), read_options(*words), tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_are_found_as_for_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "configure_logging", lambda quiet: None)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    for name in ("photos/1.png", "photos/._1.png", "photos/sub.png/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise.save(tmp_path / name)
    out = tmp_path / "out"
    for words, number in ((tmp_path / "photos", "2"), (tmp_path / "photos" / "[1-9].png", "1")):
        arguments = ["--images", str(words), "--layers", "c1", "--units", "0", "--out", str(out), "--device", "cpu"]
        assert visualize.main(["lenet5", "features", *FEW, *arguments]) == 0
        (row,) = csv.DictReader((out / "features-c1.csv").read_text("utf-8").splitlines())
        assert row["compared"] == number
