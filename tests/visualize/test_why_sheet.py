"""The sheet: one scale for all maps, colours for and against, text that fits."""

import numpy as np
import pytest

from headstart.tracking.fonts import load_font, shorten
from headstart.visualize.why.sheet import AGAINST, EDGE, FOR, GAP, SIDE, Panel, Sheet, paint

GREY = np.full((8, 8, 3), 128, np.uint8)


def near(colour: np.ndarray, other: tuple[int, int, int]) -> float:
    return float(np.abs(colour.astype(float) - other).mean())


def test_colours_say_for_and_against() -> None:
    strength = np.zeros((8, 8))
    strength[0, 0], strength[7, 7] = 1, -1
    painted = paint(GREY, strength)
    assert near(painted[0, 0], FOR) < 25
    assert near(painted[7, 7], AGAINST) < 25
    assert np.ptp(painted[4, 4]) == 0  # where nothing speaks, the image stays grey


def test_a_map_of_noise_is_pale_beside_a_real_one() -> None:
    real, noise = np.full((8, 8), 3.0), np.full((8, 8), 0.1)
    group = [Panel(GREY, density=real), Panel(GREY, density=noise)]
    assert Sheet("t", [group]).find_scales() == [3.0, 3.0]
    pixels = np.asarray(Sheet("t", [group]).draw())
    middle = pixels.shape[0] - SIDE // 2 - EDGE
    first, second = (pixels[middle, EDGE + SIDE // 2 + step] for step in (0, SIDE + GAP))
    assert near(first, FOR) < 25
    assert np.ptp(second) < 40
    assert Sheet("t", [group], scaled_alike=False).find_scales() == pytest.approx([3.0, 0.1])


def test_images_without_maps() -> None:
    sheet = Sheet("a place", [[Panel(GREY, "one", box=(0, 0, 4, 4))]] * 5, across=2).draw()
    assert sheet.height > 3 * SIDE


@pytest.mark.parametrize("name", ["a", "W" * 40, "猫" * 30])
def test_text_fits_and_keeps_its_share(name: str) -> None:
    text = f"{name}: 97 %"
    font = load_font([text], 13)
    short = shorten(text, font, SIDE)
    assert font.getlength(short) <= SIDE
    assert short.endswith("97 %")
