"""On trained networks: pictures excite their units more than every real image, and are seen as their class."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import fork_server
import headstart

CLASSES = ("1", "90", "130", "292", "340", "386", "417", "751", "852", "963")  # of ImageNet, from goldfish to pizza


def read(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on handwritten digits, with the ImageNet weights in its backbone."""
    folder = tmp_path_factory.mktemp("runs")
    done = fork_server.run(
        "train", "strategy=feature_extraction", "data=digits", "data.image_size=64", "logger=csv", "hardware=cpu",
        "study=digits", f"output_dir={folder}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (place,) = (folder / "digits").glob("*/result.json")
    return place.parent


@pytest.mark.slow
def test_pictures_excite_their_channels_more_than_every_image_of_the_run(run: Path, tmp_path: Path) -> None:
    done = fork_server.run("visualize", str(run), "features", "--out", str(tmp_path), "--device", "cpu", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read(tmp_path / "features.csv")
    assert len(rows) == 24
    assert len({row["layer"] for row in rows}) == 4
    assert {row["compared"] for row in rows} == {"1001"}  # 80 + 20 + 901
    above = [float(row["score"]) > float(row["best"]) for row in rows]
    assert sum(above) >= 0.9 * len(rows), done.stdout


@pytest.mark.slow
def test_pictures_of_imagenet_classes_are_seen_as_such_by_this_network_and_another(tmp_path: Path) -> None:
    done = fork_server.run(
        "visualize", "efficientnet_lite0", "features", "--classes", *CLASSES, "--steps", "48",
        "--out", str(tmp_path), "--device", "cpu", timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read(tmp_path / "features-classes.csv")
    assert sum(row["prediction"] == row["unit"] for row in rows) >= 9
    files = [tmp_path / "features" / row["file"] for row in rows]
    others = headstart.load("efficientnet_lite1", "cpu").predict(files, top=5)
    assert sum(row["unit"] in other.labels for row, other in zip(rows, others, strict=True)) >= 5
