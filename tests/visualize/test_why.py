"""`headstart visualize MODEL_OR_RUN why`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from headstart import train
from headstart.cli.visualize import main
from headstart.errors import UserError


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "china.jpg"
    Image.fromarray(load_sample_images().images[0][100:300, 100:300]).save(path)
    return str(path)


def test_a_photograph(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures"
    assert main(["efficientnet_lite0", "why", photo, "--out", str(out), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "HiResCAM, maps of 7 × 7 places: each map and the bias add up to the logit" in printed
    assert f"written: {out / 'why.png'}" in printed
    with Image.open(out / "why.png") as image:
        assert image.width >= 640
    command = [photo, "--target", "goldfish", "--layer", "blocks.4", "--out", str(out), "--device", "cpu"]
    assert main(["efficientnet_lite0", "why", *command]) == 0
    assert {path.name for path in out.iterdir()} == {"why.png", "why-blocks.4-goldfish.png"}


@pytest.mark.slow
def test_a_run_and_another_one(
    run_small: Callable[..., dict], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_small("strategy=feature_extraction")["folder"]
    second = run_small("strategy=feature_extraction", "head=ridge")["folder"]
    read = Mock(side_effect=train.prepare_data)
    monkeypatch.setattr(train, "prepare_data", read)
    assert main([str(first), "why", "--most", "6", "--device", "cpu"]) == 0
    assert read.call_count == 1
    printed = capsys.readouterr().out
    assert "shortcut" in printed
    assert "on 40 test images, the most confident first" in printed
    assert "6 right answers, the most confident of each class" in printed
    names = {path.name for path in (first / "figures").glob("why*")} - {"why-shortcuts.png"}
    assert names == {"why-mistakes.png", "why-right.png"}
    assert main([str(first), "why", "--against", str(second), "--out", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "of 40 test images differ" in printed
    assert f"A: {first.name}" in printed
    assert f"B: {second.name}" in printed
    assert (tmp_path / "why-against.png").is_file()
    other = run_small("strategy=feature_extraction", "data.n_test=30")["folder"]
    with pytest.raises(UserError, match="were tested on different images"):
        main([str(first), "why", "--against", str(other), "--device", "cpu"])


@pytest.mark.slow
def test_nearest_neighbours(run_small: Callable[..., dict], photo: str, tmp_path: Path) -> None:
    folder = run_small("strategy=feature_extraction", "head=knn")["folder"]
    with pytest.raises(UserError, match=r"its head is nearest neighbours, .* use --method occlusion"):
        main([str(folder), "why", "--device", "cpu"])
    pytest.importorskip("captum")
    out = str(tmp_path)
    assert main([str(folder), "why", photo, "--method", "occlusion", "--out", out, "--device", "cpu"]) == 0
    assert (tmp_path / "why-occlusion.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "is no run, so it has no images of its own; name image files"),
        (
            ["PHOTO", "--target", "tabby cat"],
            "--target tabby cat: the network has no such class.*; it has 1000",
        ),
        (["PHOTO", "--layer", "blocks.9"], "--layer blocks.9: the network calls no layer of this name; did you mean"),
        (["PHOTO", "--method", "occlusion", "--layer", "blocks.3"], "--layer blocks.3: is of --method hirescam"),
        (["missing.jpg"], "missing.jpg"),
        (["PHOTO", "--most", "0"], "--most 0: must be 1 or more"),
    ],
)
def test_wrong_words(words: list[str], said: str, photo: str) -> None:
    with pytest.raises(UserError, match=said):
        main(["efficientnet_lite0", "why", *(photo if word == "PHOTO" else word for word in words), "--device", "cpu"])
