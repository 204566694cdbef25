"""Headers of images are read without decoding, and one that cannot be read is said with its reason."""

from pathlib import Path

import numpy as np

from data.images import files, part_of, picture
from headstart.data.headers import Header, read_headers


def test_sizes_modes_and_formats(tmp_path: Path) -> None:
    picture(1, (30, 20)).save(tmp_path / "a.jpg")
    picture(2, (7, 9)).convert("L").save(tmp_path / "b.png")
    found = read_headers(files(tmp_path / "a.jpg", tmp_path / "b.png"))
    assert found == [Header(30, 20, "RGB", "JPEG"), Header(7, 9, "L", "PNG")]


def test_arrays() -> None:
    assert read_headers(part_of(np.zeros((4, 6), np.uint8))) == [Header(6, 4, "L", "array")]


def test_only_the_header_is_read(tmp_path: Path) -> None:
    picture(1, (64, 64)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])  # the pixels are missing
    (tmp_path / "text.png").write_text("no image")
    cut, text, lost = read_headers(files(tmp_path / "cut.png", tmp_path / "text.png", tmp_path / "lost.png"))
    assert (cut.width, cut.fault) == (64, "")
    assert "no image in a format" in text.fault
    assert "no such file" in lost.fault
