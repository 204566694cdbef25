"""A part's images: timm's pixels, any number of threads, every unreadable file named, memory."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from data.images import PHOTOS, files, load, part_of
from headstart.data.augment import Preprocess
from headstart.data.reader import ImageReader
from headstart.errors import UserError


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.875), (96, 0.875), (64, 1.0), (299, 0.897), (97, 0.95)])
@pytest.mark.parametrize("trim", [0, 1, 2, 3])
def test_same_pixels_as_timm(photo: str, interpolation: str, size: int, crop_pct: float, trim: int) -> None:
    """Widths of four parities, so that every rounding of the crop offsets is met; torch rounds some values its way."""
    array = np.ascontiguousarray(PHOTOS[photo][:, trim:])
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    timm = create_transform(
        size, interpolation=interpolation, crop_pct=crop_pct, crop_mode="center", mean=mean, std=std
    )
    expected = timm(Image.fromarray(array))
    pixels = load(part_of(array), math.floor(size / crop_pct), interpolation, crop=size)
    seen = Preprocess(size, mean, std)(pixels.images)[0]
    levels = 255 * torch.tensor(std).view(3, 1, 1) * (seen - expected).abs()
    assert levels.max() < (1e-3 if interpolation == "lanczos" else 2 + 1e-3)
    assert (levels > 1e-3).float().mean() < 0.01


def test_pixels_depend_on_the_libraries_that_make_them_and_on_no_others(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    colour, grey = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)
    for part, interpolation, expected in (
        (part_of(colour), "bicubic", set()),  # resized by torch
        (part_of(colour), "lanczos", {"pillow"}),
        (part_of(grey), "bicubic", {"pillow"}),
        (files(tmp_path / "a.png"), "bicubic", {"pillow", "simplejpeg"}),
    ):
        assert ImageReader(part, 8, interpolation).libraries.keys() == expected


def test_files_and_threads_give_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(70)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((9, 11, 3), i, np.uint8)).save(path)
    one, two, default = (load(files(*paths), 8, "bicubic", workers=w) for w in (1, 2, 0))
    assert one.ids == two.ids == default.ids
    assert one.images[:, 0, 0, 0].tolist() == list(range(70))


def test_every_unreadable_file_is_named_and_none_replaced(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.new("RGB", (9, 9)).save(good)
    photo = tmp_path / "cut.jpg"
    Image.fromarray(PHOTOS["china"]).save(photo)
    photo.write_bytes(photo.read_bytes()[:20_000])
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(UserError) as caught:
        load(
            files(photo, good, tmp_path / "zero.png", tmp_path / "text.jpg", tmp_path / "gone.jpg"),
            8,
            "bilinear",
        )
    message = str(caught.value)
    assert message.startswith("4 of 5 images cannot be read")
    assert all(name in message for name in ("cut.jpg", "zero.png", "text.jpg", "gone.jpg"))
    assert "good.png" not in message
    with pytest.raises(UserError) as caught:
        load(files(*[tmp_path / f"gone{i:02d}.jpg" for i in range(40)]), 8, "bilinear", workers=2)
    assert "40 of 40" in str(caught.value)
    assert str(caught.value).count("gone") == 10


def test_unknown_interpolation() -> None:
    with pytest.raises(UserError, match="interpolation 'cubic' is unknown; use one of: nearest"):
        load(part_of(np.zeros((8, 8), np.uint8)), 8, "cubic")


MEMORY = """
import re
from pathlib import Path
import numpy as np
from headstart.data.reader import ImageReader
from headstart.data.source import array_split
from headstart.data.splits import Part
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def part(n): return Part(array_split(np.zeros((64, 28, 28), np.uint8), np.zeros(64), "t"), np.arange(n) % 64)
ImageReader(part(64), 110, "bicubic", workers=2).read_all()  # imports and thread stacks
n, size = 4000, 110
before = peak()
images = ImageReader(part(n), size, "bicubic", workers=2, crop=96).read_all()
print((peak() - before) / images.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_little_more_than_the_images() -> None:
    """By VmHWM, since a child's ru_maxrss starts at its parent's."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) <= 1.3
