"""How an image of any shape becomes a square: timm's pixels in each of its crop modes, and the count of what is cut."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from data.images import PHOTOS, files, part_of
from headstart.data.augment import Preprocess
from headstart.data.reader import ImageReader
from headstart.data.shapes import describe_changes
from headstart.data.square import Square

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = {"wide": (100, 400), "tall": (401, 150), "square": (200, 200), "small": (31, 50), "photo": (427, 639)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "crop_pct"), [(96, 1.0), (97, 0.9), (64, 0.875), (65, 0.95)])
@pytest.mark.parametrize(("resize", "mode"), [("crop", "center"), ("squash", "squash"), ("pad", "border")])
def test_same_pixels_as_timm(resize: str, mode: str, size: int, crop_pct: float, shape: str) -> None:
    height, width = SHAPES[shape]
    array = np.ascontiguousarray(PHOTOS["china"][:height, :width])
    options = {"interpolation": "bicubic", "mean": MEAN, "std": STD}
    expected = create_transform(size, crop_pct=crop_pct, crop_mode=mode, **options)(Image.fromarray(array))
    fill = tuple(round(255 * value) for value in MEAN)
    reader = ImageReader(part_of(array), math.floor(size / crop_pct), "bicubic", crop=size, resize=resize, fill=fill)
    seen = Preprocess(size, MEAN, STD)(reader.read_all())[0]
    levels = 255 * torch.tensor(STD).view(3, 1, 1) * (seen - expected).abs()
    assert levels.mean() < 0.25  # torch's resize rounds by 1 here and there, most of all in skies
    assert (levels > 2 + 1e-3).float().mean() < 1e-3


def test_grey_and_endless_images_are_padded_and_squashed(tmp_path: Path) -> None:
    Image.new("L", (4000, 1), 200).save(tmp_path / "strip.png")
    part = files(tmp_path / "strip.png")
    padded = ImageReader(part, 16, "bicubic", crop=14, resize="pad", fill=(1, 2, 3)).read_all()[0]
    assert (padded == 200).all(0).sum() == 16  # one row of the image
    assert (padded == torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1)).all(0).sum() == 16 * 15
    assert (ImageReader(part, 16, "bicubic", resize="squash").read_all() == 200).all()


def test_images_of_which_much_is_cut_are_counted(tmp_path: Path) -> None:
    for name, size in {"wide": (90, 40), "tall": (40, 90), "photo": (60, 50), "square": (50, 50)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    parts = {"train": files(*sorted(tmp_path.iterdir()))}
    (words,) = describe_changes(parts, Square(36, 32))
    assert words.startswith("data.resize=crop: 2 of 4 images lose more than a third of their longer side")
    assert describe_changes({"train": files(tmp_path / "square.png")}, Square(36, 32)) == []
    assert describe_changes(parts, Square(36, 32, "squash")) == describe_changes(parts, Square(36, 32, "pad")) == []


def test_images_that_are_enlarged_are_counted_by_the_side_that_is_resized(tmp_path: Path) -> None:
    for name, size in {"wide": (90, 40), "photo": (60, 50)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    parts = {"train": files(*sorted(tmp_path.iterdir()))}
    assert describe_changes(parts, Square(55, 50))[0] == "all 2 images are enlarged to 55 px, the smallest from 40 px"
    assert describe_changes(parts, Square(45, 40))[0] == "1 of 2 images are enlarged to 45 px, the smallest from 40 px"
    assert describe_changes(parts, Square(55, 50, "pad")) == []
