"""What `why` shows of real runs: maps lie where the network looks, and a planted shortcut is named, unasked."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

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
CANVAS, THING = 128, 48  # pixels: of the images of things, and of the thing on them
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


def write_things(root: Path) -> Path:
    """Pieces of photographs on grey noise, each anywhere; the class is what is on the piece."""
    china, flower = load_sample_images().images
    with get_sample_data("grace_hopper.jpg") as file:
        hopper = np.asarray(Image.open(file).convert("RGB"))
    things = {
        "roofs": china[30:250, 80:340],
        "trees": china[320:420, 60:380],
        "petals": flower[90:350, 180:430],
        "a face": hopper[140:300, 160:360],
        "an emblem": hopper[20:110, 200:330],
    }
    rng = np.random.default_rng(0)
    for name, photo in things.items():
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            side = int(rng.integers(70, 90))
            top, left = (int(rng.integers(0, size - side + 1)) for size in photo.shape[:2])
            piece = Image.fromarray(photo[top : top + side, left : left + side]).resize((THING, THING))
            canvas = Image.fromarray(rng.integers(118, 139, (CANVAS, CANVAS, 3)).astype(np.uint8))
            canvas.paste(piece, tuple(rng.integers(8, CANVAS - THING - 8, 2).tolist()))
            canvas.save(root / name / f"{number}.png")
    return root


def train(folder: Path, images: Path, side: int, *overrides: str) -> Path:
    """Train on the images in a folder; returns the run's folder."""
    done = fork_server.run(
        "train",
        "data=image_folder",
        f"data.source.root={images}",
        f"data.image_size={side}",
        "data.flip=false",
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
    folder = tmp_path_factory.mktemp("marked")
    return train(folder, write_digits(folder / "digits", marked=True), SIDE, "strategy=finetune", "epochs=3")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    return train(folder, write_digits(folder / "digits", marked=False), SIDE, "strategy=finetune", "epochs=3")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("things")
    return headstart.load(train(folder, write_things(folder / "things"), CANVAS, "strategy=feature_extraction"), "cpu")


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
