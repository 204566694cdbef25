"""Pictures of a run's images: what they show, and names of files for every name of a class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import compose
from data.images import read, write_image
from headstart.data.augment import Preprocess
from headstart.data.contact_sheet import CELL, GAP, name_files, write_augmented, write_sheets
from headstart.data.dataset import Data


@pytest.mark.parametrize(
    ("classes", "files"),
    [
        (["cat", "T-shirt/top"], ["cat", "T-shirt%2Ftop"]),
        (["..", ".hidden", "end.", "a\nb"], ["%2E%2E", "%2Ehidden", "end%2E", "a%0Ab"]),
        (["Cat", "cat", "CAT"], ["Cat", "cat~2", "CAT~3"]),
        (["狗", "é", "e\u0301"], ["狗", "é", "e\u0301~2"]),
        (["con", "50%"], ["%con", "50%25"]),
    ],
)
def test_names_of_files(classes: list[str], files: list[str], tmp_path: Path) -> None:
    assert name_files(classes) == files
    for name in files:
        (tmp_path / f"{name}.png").touch()
    assert len(list(tmp_path.iterdir())) == len(files)


def test_long_names_fit_into_a_file_system(tmp_path: Path) -> None:
    for name in name_files(["x" * 300, "x" * 301, "鳥" * 100]):
        (tmp_path / f"{name}.png").touch()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Red and blue images, wide ones; red ones differ in their brightness."""
    for at in range(30):
        write_image(tmp_path / "photos" / "red" / f"{at:02}.png", 255 - at, (24, 12))
    for at in range(5):
        write_image(tmp_path / "photos" / "blue" / f"{at}.png", at, (24, 12))
    return read(tmp_path / "photos")


def test_a_sheet_shows_whole_images_of_its_class_evenly(data: Data, tmp_path: Path) -> None:
    assert write_sheets(data, tmp_path / "classes") == []
    red, blue = (Image.open(tmp_path / "classes" / f"{name}.png") for name in ("red", "blue"))
    assert red.size == (6 * (CELL + GAP) + GAP, 4 * (CELL + GAP) + GAP)
    assert blue.size == (5 * (CELL + GAP) + GAP, CELL + 2 * GAP)
    pixels = np.asarray(red)
    middle = GAP + CELL // 2
    assert pixels[middle, GAP].tolist() == pixels[middle, GAP + CELL - 1].tolist(), "both ends of a wide image"
    assert pixels[GAP, middle].tolist() == [255, 255, 255], "paper above it"
    shown = {
        int(pixels[middle + row * (CELL + GAP), middle + at * (CELL + GAP), 0]) for row in range(4) for at in range(6)
    }
    assert len(shown) == 24
    assert min(shown) > 200


def test_a_damaged_image_is_crossed_out_and_named(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "blue" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    (problem,) = write_sheets(data, tmp_path / "classes")
    assert problem.image == str(path)
    pixels = np.asarray(Image.open(tmp_path / "classes" / "blue.png")).reshape(-1, 3)
    assert (pixels == (200, 0, 0)).all(1).any()


def make_preprocess(size: int, *overrides: str) -> Preprocess:
    augment = compose("data=digits", *overrides).augment
    return Preprocess(size, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25), augment)


def test_augmented_samples_have_the_colours_of_the_images(data: Data, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    write_augmented(data, make_preprocess(16, "augment=standard"), tmp_path / "a.png", seed=3)
    assert torch.equal(torch.get_rng_state(), state), "the run's random numbers are not touched"
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (8 * (CELL + GAP) + GAP, 9 * (CELL + GAP) + 5 * GAP, 3)
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()} - {(255, 255, 255)}
    written = {(value, 255 - value, 7) for value in [*range(226, 256), *range(5)]}
    assert all(any(np.abs(np.subtract(c, w)).max() <= 1 for w in written) for c in colours)
    write_augmented(data, make_preprocess(16, "augment=standard"), tmp_path / "b.png", seed=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_without_augmentation_there_is_one_column(data: Data, tmp_path: Path) -> None:
    write_augmented(data, make_preprocess(16, "augment=none"), tmp_path / "a.png", seed=3)
    assert Image.open(tmp_path / "a.png").width == CELL + 2 * GAP
