"""The images of a run that left out a broken one: each stands under its own name again."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import headstart
from conftest import SMALL, compose
from headstart.visualize.embedding.points import make_maps
from headstart.visualize.run_data import read_run_data
from headstart.visualize.why.cases import TestImages, choose_answers
from predict.runs import FITTED, write_digits


@pytest.mark.slow
def test_a_broken_image_moves_no_name(tmp_path: Path) -> None:
    from headstart import train

    root = write_digits(tmp_path / "digits")
    broken = sorted(root.glob("*/*.png"))[17]
    broken.write_bytes(broken.read_bytes()[:60])
    overrides = (
        *("data=image_folder", f"data.source.root={root}", "data.on_bad_image=skip"),
        *(*SMALL, "data.test_fraction=0.4", *FITTED, f"output_dir={tmp_path / 'outputs'}"),
    )
    folder = train.run(compose(*overrides), list(overrides)).folder
    network = headstart.load(folder, "cpu")
    with (folder / "predictions.csv").open(newline="") as lines:
        answers = {row["name"]: row["predicted"] for row in csv.DictReader(lines)}
    data = read_run_data(network)
    names = data.parts["test"].names
    assert names == list(answers)
    assert all(broken.name not in name for part in data.parts.values() for name in part.names)
    at = partial(Path, root)
    found = [each.labels[0] for each in network.predict([at(name) for name in names], top=1)]
    assert found == list(answers.values()), "each name has its own pixels"
    maps = make_maps([network], len(names), seed=0)
    assert [str(label) for label in maps.maps[0].predicted] == [answers[name] for name in maps.names]
    for cases in choose_answers(TestImages.read(folder), 16):
        shown = network.decode([case.image for case in cases.cases])
        assert np.array_equal(shown, network.decode([at(case.name) for case in cases.cases]))
