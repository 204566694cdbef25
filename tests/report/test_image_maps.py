"""Where a map lies over the picture of a whole image."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import write_square
from headstart.data.square import Square
from headstart.report.page.image_maps import place_map


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(300, 180), (180, 300)])
def test_a_map_lies_where_the_network_looked(resize: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(1, 255, (6, 6), np.uint8))
    whole = coarse.resize(shape[::-1], Image.Resampling.BICUBIC)
    square = Square.make(128, 0.875, resize, (0, 0, 0))
    stored = np.zeros((square.size, square.size, 3), np.uint8)
    write_square(np.asarray(whole.convert("RGB")), square, Image.Resampling.BICUBIC, stored)
    start = round((square.size - 128) / 2)
    seen = stored[start : start + 128, start : start + 128, 0]
    network: Any = SimpleNamespace(transform=SimpleNamespace(square=square))
    picture = whole.resize((shape[1] // 2, shape[0] // 2), Image.Resampling.BICUBIC)
    laid = place_map(seen.astype(np.float32), network, whole.size, picture.size)
    inside = laid > 0
    assert inside.mean() > 0.4
    assert np.abs(laid - np.asarray(picture))[inside].mean() < 4
