"""Tests for `headstart.preflight.epochs`: a study's epochs follow from the number of its training images."""

from pathlib import Path

import pytest

from conftest import compose
from data.images import write_image
from headstart.preflight.command import examine
from headstart.preflight.epochs import UNKNOWN, register_resolvers

STUDY = ("experiment=which_strategy", "data=image_folder")


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_resolvers()


def make_folder(root: Path, images: int) -> Path:
    """A folder with two classes; 16 % of the images are for validation, 20 % for the test."""
    for i in range(images):
        write_image(root / "ab"[i % 2] / f"{i}.png", value=i % 256, size=(2, 2))
    return root


def choose(root: Path, *overrides: str) -> int:
    return compose(*STUDY, f"data.source.root={root}", *overrides).epochs


def test_few_images_are_seen_more_often(tmp_path: Path) -> None:
    few, more = make_folder(tmp_path / "few", 50), make_folder(tmp_path / "more", 500)
    assert choose(few) == 40, "at most"
    assert choose(more) == 31, "10,000 images at 320 an epoch"
    assert choose(more, "size=small") == 12, "4,000 images"
    assert choose(more, "data.n_train=400") == 31, "n_train is train and validation together"
    assert choose(more, "data.n_train=250") == 40
    assert {choose(more, f"seed={seed}") for seed in range(3)} == {31}


def test_a_number_of_ones_own_wins(tmp_path: Path) -> None:
    assert choose(make_folder(tmp_path, 50), "epochs=3") == 3


def test_images_that_were_added_count_in_the_next_command(tmp_path: Path) -> None:
    assert choose(make_folder(tmp_path, 400)) == 39
    make_folder(tmp_path, 500)
    register_resolvers()
    assert choose(tmp_path) == 31


def test_data_that_cannot_be_read_are_left_to_their_own_check(tmp_path: Path) -> None:
    assert choose(tmp_path / "gone") == UNKNOWN
    problems = examine(["-m", *STUDY, "hydra.sweeper.params=null", "seed=0"], libraries=False).problems
    assert any("data.source.root" in problem for problem in problems), problems
