"""Images with more than 8 bits: the range of a whole set becomes black … white, or the set is refused."""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images import files, load, read
from headstart.data import pixel_range
from headstart.data.digests import Contents
from headstart.data.pixel_range import set_pixel_range
from headstart.data.splits import Part
from headstart.errors import UserError


def grey(folder: Path, *levels: float, kind: type = np.uint16, suffix: str = ".tif") -> Part:
    """One image for each level: black, the level, and half of it."""
    paths = [folder / f"{at}{suffix}" for at in range(len(levels))]
    for path, level in zip(paths, levels, strict=True):
        pixels = np.zeros((8, 8), kind)
        pixels[:, 4:] = level
        pixels[4:, 4:] = kind(level / 2)
        Image.fromarray(pixels).save(path)
    return files(*paths)


def brightness(part: Part, asked: list[float] | None = None) -> list[int]:
    """The brightest pixel of each image as a network sees it."""
    parts, _ = set_pixel_range({"train": part}, asked, None)
    return load(parts["train"], 8, "nearest").images.amax((1, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("kind", "levels", "seen"),
    [
        (np.uint16, (200, 255), [200, 255]),  # 8 bits in a 16-bit file
        (np.uint16, (512, 1023), [128, 255]),
        (np.uint16, (1000, 4000), [62, 249]),  # 12 bits, as from a microscope's camera; the brightest is not stretched
        (np.uint16, (0x8000, 0xFFFF), [128, 255]),
        (np.int32, (200, 255), [200, 255]),
        (np.int32, (10_000, 100_000), [19, 195]),
        (np.float32, (0.5, 0.75), [128, 191]),
        (np.float32, (1.0, 2.5), [64, 159]),
        (np.float32, (100, 255), [100, 255]),
    ],
)
def test_the_range_of_the_set_is_used(kind: type, levels: tuple[float, ...], seen: list[int], tmp_path: Path) -> None:
    assert brightness(grey(tmp_path, *levels, kind=kind)) == seen


@pytest.mark.parametrize("suffix", [".png", ".pgm"])
def test_the_range_of_other_formats_is_used(suffix: str, tmp_path: Path) -> None:
    assert brightness(grey(tmp_path, 512, 1023, suffix=suffix)) == [128, 255]


def test_all_parts_share_the_range_and_eight_bits_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for part, level in (("train", 500), ("val", 100), ("test", 1000)):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for at in range(4):
                Image.fromarray(np.full((8, 8), level + at, np.uint16)).save(tmp_path / part / name / f"{at}.png")
            Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / part / name / "plain.png")
    data = read(tmp_path)
    assert data.pixel_range == (0, 1023)
    assert data.train.images.amax((1, 2, 3)).tolist() == [125, 125, 125, 125, 77] * 2
    assert data.test.images.amax() == 250
    assert "24 of 30 images have 16 bits or more (values 100 … 1003): 0 … 1023 becomes black … white" in caplog.text
    assert data.adaptations[0].endswith("images are grey: repeated to 3 channels")
    wide = read(tmp_path, pixel_range=(0, 2047))
    assert wide.test.images.amax() == 125


def test_infinity_is_no_brightness(tmp_path: Path) -> None:
    part = grey(tmp_path, 0.5, 0.75, np.inf, kind=np.float32)
    parts, found = set_pixel_range({"train": part}, None, None)
    assert found == (0, 1)
    with pytest.raises(UserError, match=r"(?s)1 of 3 images .*2\.tif: .*NaN or infinity"):
        load(parts["train"], 8, "nearest")


def test_negative_values_need_a_range(tmp_path: Path) -> None:
    part = grey(tmp_path, -1000, 3000, kind=np.int32)
    with pytest.raises(
        UserError, match=r"negative values, from -1000 .*0\.tif.* to 3000 .*data\.pixel_range=\[LOW,HIGH\]"
    ):
        brightness(part)
    assert brightness(part, [-1000, 1040]) == [125, 255]


def test_fractions_beside_whole_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    parts = {"train": grey(tmp_path, 500), "test": grey(tmp_path / "more", 0.5, kind=np.float32)}
    with pytest.raises(UserError, match="fractions and images with whole numbers in one set"):
        set_pixel_range(parts, None, None)


def test_a_few_hot_pixels_that_darken_all_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.full((64, 64), 300, np.uint16)
    pixels[0, 0] = 65535
    Image.fromarray(pixels).save(tmp_path / "0.tif")
    _, found = set_pixel_range({"train": files(tmp_path / "0.tif")}, None, None)
    assert found == (0, 65535)
    assert "data.pixel_range=[0,300] makes these brighter" in caplog.text
    assert brightness(grey(tmp_path, 300), [0, 300]) == [255]


def test_an_image_with_nan_is_a_bad_one(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 0.5, np.float32)
    pixels[2, 2] = np.nan
    Image.fromarray(pixels).save(tmp_path / "0.tif")
    with pytest.raises(UserError, match=r"0\.tif: it holds NaN"):
        brightness(files(tmp_path / "0.tif"))


def test_a_deep_image_under_another_ending_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(tmp_path / "0.jpg", format="TIFF")
    with pytest.raises(UserError, match=r"0\.jpg: it has more than 8 bits a pixel"):
        brightness(files(tmp_path / "0.jpg"))


def write_deep_colour(path: Path, level: int) -> Path:
    """A PNG of 4 x 4 pixels with 16 bits a channel, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compress((b"\0" + struct.pack(">12H", *[level] * 12)) * 4)
    header = struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_deep_colour_is_refused_where_its_upper_bits_are_empty(tmp_path: Path) -> None:
    assert brightness(files(write_deep_colour(tmp_path / "bright.png", 0xC000))) == [0xC0]
    with pytest.raises(UserError, match=r"dark\.png .* 16-bit colour images with values up to 1023; .* 8 bits"):
        brightness(files(write_deep_colour(tmp_path / "dark.png", 1000)))


def test_values_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = grey(tmp_path, 512, 1023)
    part = Part(replace(part.split, contents=Contents(tmp_path / "cache")), part.rows)
    assert set_pixel_range({"train": part}, None, tmp_path / "cache")[1] == (0, 1023)
    monkeypatch.setattr(pixel_range, "measure", None)  # would raise
    monkeypatch.setattr(pixel_range, "_try_measure", None)
    assert set_pixel_range({"train": part}, None, tmp_path / "cache")[1] == (0, 1023)


def test_a_turned_deep_image_is_turned_back(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8), np.uint16)
    pixels[:, :4] = 1023  # the left half
    Image.fromarray(pixels).save(
        tmp_path / "0.tif", compression="tiff_lzw", tiffinfo={274: 6}
    )  # to be turned clockwise: left becomes top
    parts, _ = set_pixel_range({"train": files(tmp_path / "0.tif")}, None, None)
    seen = parts["train"].split.images[0]
    assert (seen.size, seen.getpixel((1, 1)), seen.getpixel((1, 6))) == ((4, 8), 255, 0)
