"""`headstart visualize … activations`: the strongest maps of each depth, of the image as the network sees it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

import headstart
from headstart.errors import UserError
from headstart.visualize.activations import find_strongest
from headstart.visualize.commands import activations as command
from headstart.visualize.forward import run_to
from headstart.visualize.layers import choose_layers, find_layers


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "flower.png"
    Image.fromarray(load_sample_image("flower.jpg")).save(path)
    return path


def test_the_strongest_channels_come_first_with_their_own_maps(photograph: Path) -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    image = network.normalize(network.decode([photograph]))
    layers = choose_layers(find_layers(network, network.image_size), ["0", "blocks.3"])
    first, second = find_strongest(network, image[0], layers, 5)
    with torch.no_grad():
        maps = run_to(network.network, image, {"blocks.3": lambda maps: maps[0].clone()})["blocks.3"]
    strengths = maps.square().mean((1, 2)).sqrt()
    assert second.channels == strengths.argsort(descending=True)[:5].tolist()
    assert second.strengths == sorted(second.strengths, reverse=True)
    torch.testing.assert_close(second.values[2], maps[second.channels[2]])
    assert (first.layer.name, tuple(first.values.shape)) == ("bn1", (5, 112, 112))


def test_a_sheet_for_each_image_with_a_row_for_each_depth(
    tmp_path: Path, photograph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    other = tmp_path / "dark.png"
    Image.new("RGB", (300, 200)).save(other)
    options = Namespace(images=[str(photograph), str(other)], layers=None, channels=4)
    files = command.run(network, options, tmp_path / "out")
    assert [file.name for file in files] == ["activations-flower.png", "activations-dark.png"]
    assert Image.open(files[0]).height > 9 * 132
    words = capsys.readouterr().out
    assert words.count("flower.png  depth ") == words.count("dark.png  depth ") == 8
    strange = tmp_path / "two\nlines.png"
    other.rename(strange)
    (file,) = command.run(network, Namespace(images=[str(strange)], layers=["0"], channels=1), tmp_path / "out")
    assert file.name == "activations-two%0Alines-bn1.png"
    assert file.is_file()
    assert capsys.readouterr().out.splitlines()[-1].startswith(r"two\nlines.png  depth 0: bn1: strongest channels")


def test_wrong_input_is_named(tmp_path: Path, photograph: Path) -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    (tmp_path / "text.png").write_text("no image")
    for images, layers, words in (
        ([str(photograph)], ["block.1"], "did you mean blocks.1"),
        ([str(tmp_path / "text.png")], None, "text.png"),
    ):
        with pytest.raises(UserError, match=words):
            command.run(network, Namespace(images=images, layers=layers, channels=4), tmp_path / "out")
    assert not (tmp_path / "out").exists()
