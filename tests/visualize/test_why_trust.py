"""What `why` shows of real runs: maps lie where the network looks, and a planted shortcut is named, unasked."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import fork_server
import headstart
from headstart.data.dataset import Data
from headstart.predict.network import Network
from headstart.visualize.run_data import read_run_data
from headstart.visualize.why.hirescam import compute_hirescam
from headstart.visualize.why.layers import choose_layer
from visualize.why_checks import correlate, delete, point_in_grid, read_test_images

pytestmark = pytest.mark.slow

SIDE, EACH, MARKED = 64, 40, 3  # pixels, images of a class, the class with the mark
MARK, RED = (6, 6, 16, 16), (230, 60, 40)  # left, top, right, bottom


def write_digits(root: Path, *, marked: bool) -> Path:
    """Digits as image files; with a red square on 95 % of the images of one class if `marked`."""
    digits, rng = load_digits(), np.random.default_rng(0)
    for label in range(10):
        folder = root / f"digit {label}"
        folder.mkdir(parents=True)
        for number, at in enumerate(np.flatnonzero(digits.target == label)[:EACH]):
            pixels = (digits.images[at] * 255 / 16).astype(np.uint8)
            image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
            if marked and label == MARKED and rng.random() < 0.95:
                image.paste(RED, MARK)
            image.save(folder / f"{number}.png")
    return root


def train(folder: Path, *overrides: str) -> Path:
    """Fine-tune on the digits that are written to this folder; returns the run's folder."""
    images = write_digits(folder / "digits", marked="marked" in folder.name)
    done = fork_server.run(
        "train",
        "data=image_folder",
        f"data.source.root={images}",
        f"data.image_size={SIDE}",
        "data.flip=false",
        "strategy=finetune",
        "hardware=cpu",
        "logger=csv",
        f"output_dir={folder / 'outputs'}",
        *overrides,
    )
    assert done.returncode == 0, done.stderr
    (result,) = (folder / "outputs").glob("*/*/result.json")
    return result.parent


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("marked"), "epochs=3")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("clean"), "epochs=6")


@pytest.fixture(scope="module")
def network(clean: Path) -> Network:
    return headstart.load(clean, "cpu")


@pytest.fixture(scope="module")
def data(network: Network) -> Data:
    return read_run_data(network)


def test_a_planted_shortcut_is_named_with_class_and_place(marked: Path) -> None:
    done = fork_server.run("visualize", str(marked), "why")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "shortcut" in line and not line.startswith("written")]
    (line,) = [line for line in lines if "looking for" not in line]
    assert line.startswith(f"shortcut: class digit {MARKED}, top left: pasted on ")
    for name in ("mistakes", "right", "shortcuts"):
        with Image.open(marked / "figures" / f"why-{name}.png") as image:
            assert image.width > 600


def test_no_shortcut_is_named_where_none_is(clean: Path, tmp_path: Path) -> None:
    done = fork_server.run("visualize", str(clean), "why", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "shortcuts: no place alone decides for a class" in done.stdout
    assert not (tmp_path / "why-shortcuts.png").exists()


def randomise(network: Network, *, head_only: bool, seed: int = 0) -> Network:
    """The network with random weights, everywhere or in its head."""
    model = copy.deepcopy(network.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in [model.get_classifier()] if head_only else model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return replace(network, network=model, module=model)


def test_grid_pointing_game(network: Network, data: Data) -> None:
    images, labels = read_test_images(network, data, 60)
    assert point_in_grid(network, images, labels) >= 0.7
    assert point_in_grid(randomise(network, head_only=False), images, labels) <= 0.3


def test_maps_of_a_random_head_are_others(network: Network, data: Data) -> None:
    images, labels = read_test_images(network, data, 32)
    layer = choose_layer(network)
    maps = compute_hirescam(network, images, labels, layer).values
    found = []
    for seed in range(5):
        other = randomise(network, head_only=True, seed=seed)
        found += correlate(maps, compute_hirescam(other, images, labels, layer).values)
    assert abs(float(np.mean(found))) <= 0.2


def test_what_the_map_names_first_matters_most(network: Network, data: Data) -> None:
    images, labels = read_test_images(network, data, 24)
    maps = compute_hirescam(network, images, labels, choose_layer(network)).values
    colour, places = images.mean((0, 2, 3)).view(1, 3, 1, 1), maps[0].numel()
    side = maps.shape[-1]
    order = maps.flatten(1).argsort(1, descending=True)
    at_random = [
        torch.rand(len(images), places, generator=torch.Generator().manual_seed(seed)).argsort(1) for seed in range(3)
    ]
    curve = delete(network, images, labels, order, side, colour)
    random = torch.stack([delete(network, images, labels, each, side, colour) for each in at_random]).mean(0)
    assert float((curve < random).float().mean()) >= 0.9
