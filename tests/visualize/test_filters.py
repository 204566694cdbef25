"""`headstart visualize … filters`: the kernels of the first layer, on one scale."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image

import headstart
from headstart.errors import UserError
from headstart.visualize import filters
from headstart.visualize.commands import filters as command


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("efficientnet_lite0", "conv_stem", (32, 3, 3, 3)),
        ("lenet5", "c1.0", (6, 3, 5, 5)),
        ("linear", "fc", (1000, 3, 32, 32)),  # the templates of its classes
    ],
)
def test_the_first_layers_kernels_are_found(name: str, layer: str, shape: tuple[int, ...]) -> None:
    network = headstart.load(name, "cpu")
    kernels = filters.find_kernels(network)
    assert kernels.layer == layer
    assert kernels.weights.shape == shape
    torch.testing.assert_close(kernels.weights.flatten(1), network.network.get_submodule(layer).weight.flatten(1))


def test_the_picture_and_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    (path,) = command.run(network, Namespace(), tmp_path)
    sheet = Image.open(path)
    assert sheet.width > 12 * filters.SIDE
    assert sheet.height > 3 * filters.SIDE
    kernels = filters.find_kernels(network)
    unused = int((kernels.norms < 0.01 * kernels.norms.max()).sum())
    assert capsys.readouterr().out == (
        f"conv_stem: 32 kernels of 3 × 3; {unused} below 1 % of the strongest one's norm\n"
    )
    # the first cell is the strongest kernel; grey is 0
    strongest = kernels.weights[kernels.norms.argmax()]
    x, y = filters.SIDE // 6, filters.SIDE // 6  # the middle of its first pixel
    left, top = find_first_cell(sheet)
    expected = [round(float(each)) for each in (strongest[:, 0, 0] / kernels.weights.abs().max() + 1) * 127.5]
    assert sheet.getpixel((left + x, top + y)) == pytest.approx(expected, abs=1)


def find_first_cell(sheet: Image.Image) -> tuple[int, int]:
    """The place of the first cell's picture, as the sheet draws it."""
    from headstart.visualize import sheet as drawing

    top = drawing.EDGE + drawing.TITLE + drawing.CAPTION + 26
    return drawing.EDGE, top


def test_kernels_that_are_no_images_are_refused() -> None:
    network = headstart.load("lenet5", "cpu")
    network.network.c1[0] = torch.nn.Conv2d(3, 6, 5, groups=3)
    with pytest.raises(UserError, match="are no images"):
        filters.find_kernels(network)
