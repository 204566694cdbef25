"""What `headstart.load` returns: it repeats a run's own test, whatever the form of the images and the batch."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart
from headstart.errors import UserError
from headstart.predict.network import Network
from headstart.predict.prediction import Prediction, find_top
from headstart.tracking.wandb_artifacts import gather_model
from predict.runs import digits, load, make_run

SLOW = pytest.mark.slow


def probabilities(network: Network, found: list[Prediction]) -> np.ndarray:
    """All probabilities [n, classes], in the order of the classes."""
    rows = [dict(zip(each.labels, each.probabilities, strict=True)) for each in found]
    return np.array([[row[name] for name in network.classes] for row in rows], dtype=np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "fine-tuned",
        "fitted",
        "neighbours",
        pytest.param("stages", marks=SLOW),
        pytest.param("cached inside", marks=SLOW),
    ],
)
def test_a_runs_test_images_get_the_numbers_of_its_predictions(kind: str) -> None:
    folder = make_run(kind).folder
    network = load(kind)
    with (folder / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    found = network.predict([row["name"] for row in rows], top=10)
    for row, each in zip(rows, found, strict=True):
        assert (each.image, each.error) == (row["name"], None)
        assert (each.labels[0], f"{each.probabilities[0]:.6g}") == (row["predicted_name"], row["confidence"])
        assert [network.classes.index(label) for label in each.labels[:5]] == [int(at) for at in row["top5"].split()]
    with np.load(folder / "predictions.npz") as stored:
        assert np.array_equal(stored["test_probabilities"], probabilities(network, found))
    # the plain module is the same function, up to rounding: its batch norms are not folded
    images = network.normalize(network.decode([row["name"] for row in rows]))
    with torch.inference_mode():
        plain = network.module(images).softmax(1).numpy()
    assert np.abs(plain - probabilities(network, found)).max() <= 1e-5


@pytest.mark.parametrize("kind", ["fine-tuned", "neighbours", pytest.param("stages", marks=SLOW)])
def test_the_batch_size_changes_nothing_but_rounding(kind: str) -> None:
    network = load(kind)
    images = sorted(map(str, digits().rglob("*.png")))[:65]
    found = [probabilities(network, network.predict(images, top=10, batch_size=size)) for size in (64, 1, 7)]
    assert all(np.abs(found[0] - other).max() <= 1e-5 for other in found[1:])
    features = [network.features(images, batch_size=size) for size in (64, 7)]
    assert torch.allclose(*features, atol=1e-4)


def test_features_are_what_the_head_reads() -> None:
    network = load("fitted")
    images = sorted(map(str, digits().rglob("*.png")))[:5]
    features = network.features(images)
    assert features.shape == (5, 1280)
    with torch.inference_mode():
        logits = network.network.get_classifier()(features)
    assert np.abs(logits.softmax(1).numpy() - probabilities(network, network.predict(images, top=10))).max() <= 1e-5
    stages = load("neighbours")
    assert torch.allclose(stages.features(images), features, atol=1e-5), "neighbours are found among the same features"


def test_paths_images_and_arrays_are_one_image(tmp_path: Path) -> None:
    network = load("neighbours")
    photo = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(photo).save(path := tmp_path / "photo.png")
    opened = Image.open(path)
    found = network.decode([path, str(path), opened, Image.fromarray(photo), photo])
    assert found.shape == (5, 3, network.image_size, network.image_size)
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert np.array_equal(np.asarray(opened), photo), "an image that was handed over can still be used"
    assert torch.equal(network.transform(Image.fromarray(photo)), network.normalize(found)[0])
    assert [each.image for each in network.predict([photo, path])] == [0, str(path)]
    assert len(network.predict(path)) == len(network.predict(photo)) == len(network.predict(opened)) == 1


def test_a_large_jpeg_that_is_opened_is_decoded_as_its_file_is(tmp_path: Path) -> None:
    network = load("neighbours")
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((600, 400)).save(path := tmp_path / "photo.jpg")
    opened = Image.open(io.BytesIO(path.read_bytes()))
    assert torch.equal(*network.decode([path, opened]))
    assert np.asarray(opened).shape == (400, 600, 3), "it was not shrunk for its owner"


def _draw_formats(folder: Path) -> dict[str, list[str]]:
    """Files of unusual kinds, each with what a person sees there: a light left half and a dark right one."""
    pixels = np.full((64, 64, 3), 40, dtype=np.uint8)
    pixels[:, :32] = 200
    image = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise to be seen
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=turned)
    image.convert("CMYK").save(folder / "cmyk.tif")
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(pixels[..., 0] == 200, 0, 255).astype(np.uint8)))
    clear.save(folder / "alpha.png")  # its left half is clear: white paper
    image.convert("P").save(folder / "moving.gif", save_all=True, append_images=[Image.new("P", (64, 64))])
    return {name: [name] for name in ("turned.png", "cmyk.tif", "alpha.png", "moving.gif")}


def test_unusual_files_are_seen_as_a_person_sees_them(tmp_path: Path) -> None:
    network = load("neighbours")
    names = [str(tmp_path / name) for name in _draw_formats(tmp_path)]
    for name, pixels in zip(names, network.decode(names).float(), strict=True):
        left, right = pixels[..., :8].mean(), pixels[..., -8:].mean()
        assert right == pytest.approx(40, abs=4), name
        assert left == pytest.approx(255 if "alpha" in name else 200, abs=4), name


def test_16_bits_get_the_range_of_the_runs_own_images(tmp_path: Path) -> None:
    folder = make_run("neighbours", bits=16).folder
    assert json.loads((folder / "result.json").read_text())["preprocessing"]["pixel_range"] == [0.0, 4095.0]
    network = load("neighbours", bits=16)
    with np.load(folder / "predictions.npz") as stored:
        names, expected = stored["test_names"].tolist(), stored["test_probabilities"]
    assert np.array_equal(probabilities(network, network.predict(names, top=10)), expected)
    (other,) = load("neighbours").predict(names[0])
    assert "more than 8 bits" in str(other.error), "a run on 8 bits does not know what is black and white in 16"


def test_a_broken_image_is_named_and_the_others_keep_their_answers(tmp_path: Path) -> None:
    network = load("fitted")
    sound = sorted(map(str, digits().rglob("*.png")))[:5]
    (tmp_path / "broken.png").write_bytes(Path(sound[0]).read_bytes()[:60])
    mixed: list[Any] = [
        *sound[:2],
        str(tmp_path / "broken.png"),
        str(tmp_path / "none.png"),
        *sound[2:],
        [1, 2],
        np.zeros(3),
    ]
    found = network.predict(mixed, top=1, batch_size=3)
    assert [each.image for each in found] == [*mixed[:7], 7, 8]
    assert [each.error is None for each in found] == [True, True, False, False, True, True, True, False, False]
    assert found[3].error == "there is no such file"
    assert [each.labels for each in found if not each.error] == [each.labels for each in network.predict(sound, top=1)]
    with pytest.raises(UserError, match=r"2 of 2 images cannot be read[^$]*broken\.png"):
        network.features(mixed[2:4])
    assert network.predict([]) == []


@pytest.mark.slow
def test_scores_that_are_no_probabilities_are_none() -> None:
    result = make_run("ridge on stages")
    assert result["test"]["nll"] is None
    (found,) = load("ridge on stages").predict(next(digits().rglob("*.png")), top=2)
    assert len(found.labels) == 2
    assert np.isnan(found.probabilities).all()


@pytest.mark.parametrize("top", [1, 5, 12])
def test_of_equal_values_the_first_class_comes_first(top: int) -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)).mul(2).round()  # many equal ones
    logits = torch.cat([logits, torch.arange(10.0)[None]])
    values, order = find_top(logits, top)
    expected = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :top]
    assert order.tolist() == expected.tolist()
    assert np.array_equal(values.numpy(), np.take_along_axis(logits.numpy(), expected, 1))


@pytest.mark.parametrize(("kind", "is_exported"), [("fine-tuned", True), ("fitted", True), ("neighbours", False)])
def test_what_wandb_keeps_of_a_run_is_a_whole_network(kind: str, is_exported: bool, tmp_path: Path) -> None:
    """The files of the artifact of `logger.artifacts=model`, downloaded elsewhere."""
    with TemporaryDirectory() as scratch:
        files = gather_model(make_run(kind).folder, Path(scratch))
        assert ({"model.safetensors", "config.json", "README.md"} == set(files)) is is_exported
        for name, path in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / name)
    images = sorted(map(str, digits().rglob("*.png")))[:5]
    found = [
        probabilities(network, network.predict(images, top=10)) for network in (load(kind), headstart.load(tmp_path))
    ]
    assert np.abs(found[0] - found[1]).max() <= 1e-6
