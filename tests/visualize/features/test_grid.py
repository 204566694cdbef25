"""`headstart visualize … features`: pictures that excite their units more than real images, and the table of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import fork_server
import headstart
from headstart.visualize.features import rows as units
from headstart.visualize.features.canvas import make_palette
from headstart.visualize.features.compare import measure_pictures
from headstart.visualize.features.objectives import excite_channels, measure_likeness
from headstart.visualize.features.optimise import Settings, make_pictures
from headstart.visualize.features.rows import Choice, make_row
from headstart.visualize.forward import compute_map, run_to, to_input
from headstart.visualize.layers import Layer

QUICK = ("--steps", "24", "--size", "48")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pieces of scikit-learn's two photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, pixels in enumerate(load_sample_images().images):
        for part, piece in enumerate(np.array_split(pixels, 3, axis=1)):
            Image.fromarray(piece).save(folder / f"{number}-{part}.png")
    return folder


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, list[dict[str, str]]]:
    done = fork_server.run("visualize", *arguments, "--out", str(folder), "--device", "cpu")
    assert done.returncode == code, done.stdout + done.stderr
    rows = [row for table in folder.glob("*.csv") for row in csv.DictReader(table.read_text("utf-8").splitlines())]
    return done.stdout + done.stderr, rows


def test_pictures_of_channels_stand_beside_the_images_that_excite_them(tmp_path: Path, photographs: Path) -> None:
    words, rows = run(
        tmp_path, "efficientnet_lite0", "features", "--layers", "blocks.1", "--units", "3", "9", *QUICK,
        "--images", str(photographs),
    )  # fmt: skip
    assert "depth 2: blocks.1: 2 of 2 pictures above each of 6 images" in words
    assert [row["unit"] for row in rows] == ["channel 3", "channel 9"]
    network = headstart.load("efficientnet_lite0", "cpu")
    row = make_row(network, Layer("blocks.1", 24, 2), Choice(channels=(3, 9)), ())
    files = [tmp_path / "features" / each["file"] for each in rows]
    assert Image.open(files[0]).size == (48, 48)
    # the table's numbers are those of the files
    scores = measure_pictures(network, row, files, 1)
    assert [float(each["score"]) for each in rows] == pytest.approx(scores, rel=1e-4)
    # the best image is the best of all
    inputs = network.normalize(network.decode(sorted(photographs.iterdir())))
    means = run_to(network.network, inputs, {"blocks.1": lambda maps: maps.mean((2, 3))})["blocks.1"][:, [3, 9]]
    assert [float(each["best"]) for each in rows] == pytest.approx(means.amax(0).tolist(), rel=1e-3)
    best = [sorted(photographs.iterdir())[at].name for at in means.argmax(0).tolist()]
    assert [Path(each["image"]).name for each in rows] == best
    assert min(Image.open(tmp_path / "features-blocks.1.png").size) > 150


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "block.2"), "did you mean blocks.2?"),
        (("--layers", "1", "--units", "99"), "--units 99: blocks.0 has channels 0 to 15"),
        (("--classes", "goldfsh"), "did you mean goldfish?"),
        (("--classes", "--layers", "1"), "leave --layers, --units and --objective out"),
        (("--maco",), "--maco: needs images"),
        (("--images", "nowhere"), "nowhere: there is no such file"),
        (("--objective", "direction", "--layers", "1"), "needs --direction FILE.npy"),
        (("--steps", "0"), "--steps 0: must be at least 1"),
    ],
)
def test_wrong_input_gets_words_and_code_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    said, rows = run(tmp_path, "efficientnet_lite0", "features", *arguments, code=2)
    assert words in said
    assert not rows
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["neuron", "layer", "direction"])
def test_every_objective_rises(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "direction.npy", np.eye(24)[5] - np.eye(24)[7])
    network = headstart.load("efficientnet_lite0", "cpu")
    row = make_row(network, Layer("blocks.1", 24), Choice(kind, (5,), tmp_path / "direction.npy"), ())
    scores = []
    for steps in (0, 48):
        (pixels,) = make_pictures(network, row.module, row.objective, 1, Settings(48, steps, make_palette()))
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "picture.png")
        scores += measure_pictures(network, row, [tmp_path / "picture.png"], 1)
    assert scores[1] > scores[0] + 0.5 * abs(scores[0])


def test_the_same_seed_gives_the_same_picture_and_another_one_not() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    row = make_row(network, Layer("blocks.0", 16), Choice(channels=(2,)), ())
    first, again, other = (
        make_pictures(network, row.module, row.objective, 1, Settings(32, 4, make_palette(), seed=seed))
        for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_the_networks_own_weights_may_learn_again_afterwards() -> None:
    network = headstart.load("lenet5", "cpu")
    row = make_row(network, Layer("s2", 6), Choice(channels=(0,)), ())
    make_pictures(network, row.module, row.objective, 1, Settings(32, 1, make_palette()))
    assert all(each.requires_grad for each in network.module.parameters())


def test_a_network_that_is_all_head_shows_its_classes(tmp_path: Path) -> None:
    _, rows = run(tmp_path, "linear", "features", "--steps", "2")
    assert [row["layer"] for row in rows] == ["classes"] * units.UNITS


def test_diverse_pictures_of_a_unit_are_less_alike() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    row = make_row(network, Layer("blocks.1", 24), Choice(channels=(5,)), ())
    diverse = make_pictures(network, row.module, row.objective, 1, Settings(48, 24, make_palette(), copies=3))
    alone = make_pictures(
        network, row.module, excite_channels([5, 5, 5]), 3, Settings(48, 24, make_palette())
    )  # three first pictures, each on its own
    likeness, scores = [], []
    with torch.no_grad():
        for pixels in (diverse, alone):
            maps = compute_map(network, to_input(network, pixels / 255), row.module)
            likeness.append(float(measure_likeness(maps, 3)))
            scores.append(float(row.objective(maps).mean()))
    assert likeness[0] < likeness[1] - 0.05
    assert scores[0] > 0.3 * scores[1]  # they excite the unit all the same


def test_maco_keeps_the_spectrum_of_the_images(tmp_path: Path, photographs: Path) -> None:
    _, rows = run(
        tmp_path, "efficientnet_lite0", "features", "--layers", "blocks.1", "--units", "3", *QUICK, "--maco",
        "--images", str(photographs),
    )  # fmt: skip
    picture = np.asarray(Image.open(tmp_path / "features" / rows[0]["file"]), float) / 255
    network = headstart.load("efficientnet_lite0", "cpu")
    seen = network.decode(sorted(photographs.iterdir())).float() / 255
    images = torch.nn.functional.interpolate(seen, (48, 48), mode="area").numpy()

    def slope(pixels: np.ndarray) -> float:
        power = np.abs(np.fft.fft2(pixels))[..., 0, 1:20].reshape(-1, 19).mean(0)
        return float(np.polyfit(np.log(np.arange(1, 20)), np.log(power), 1)[0])

    assert slope(picture.transpose(2, 0, 1)) == pytest.approx(slope(images), abs=0.6)
    row = make_row(network, Layer("blocks.1", 24), Choice(channels=(3,)), ())
    start = make_pictures(network, row.module, row.objective, 1, Settings(48, 0, make_palette()))
    before = row.objective(compute_map(network, to_input(network, start / 255), row.module).detach())
    assert float(rows[0]["score"]) > float(before)
