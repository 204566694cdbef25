"""The page's pictures of test images: the right pixels under each name, or none; maps where they are asked for."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from headstart.data.sources import digits
from headstart.errors import UserError
from headstart.models.weights import FINAL
from headstart.report.charts.tables import Table
from headstart.report.page import run_images
from headstart.report.page.gallery import Galleries
from headstart.report.page.mistakes import mistakes_section
from headstart.report.page.pictures import Selection, Shown, list_mistakes
from headstart.report.page.run_images import ImageReader, find_test_images
from headstart.report.study.groups import compare
from headstart.report.study.read import Run, read
from report.pages import Page
from report.photos import write_photos
from report.studies import answered, made
from visualize.runs import train_small

CARD = re.compile(r"<li title=\"(.*?)\">(.*?)</li>", re.DOTALL)
PICTURE = re.compile(r'<img class="(\S+?)(?: coarse)?" src="data:image/\w+;base64,(.*?)" alt="(.*?)">')


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of a small study, with real runs."""
    folder = tmp_path_factory.mktemp("outputs")
    for strategy in ("feature_extraction", "scratch"):
        train_small(folder, "study=small", f"strategy={strategy}", "epochs=1")
    return folder


@pytest.fixture(scope="module")
def page(outputs: Path) -> str:
    return made(outputs, "small", "--maps")


def cards(text: str) -> list[tuple[str, dict[str, tuple[Image.Image, str]], str]]:
    """The name, the pictures with their alternative texts by view, and the rest, of each card."""
    found = []
    for name, inner in CARD.findall(text):
        views = {
            view: (Image.open(io.BytesIO(base64.b64decode(content))), alt)
            for view, content, alt in PICTURE.findall(inner)
        }
        found.append((name, views, inner))
    return found


def mistakes_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["label"] != row["predicted"]]


def test_each_picture_has_the_pixels_of_its_name(page: str) -> None:
    images = digits().train.images
    shown = cards(page)
    assert len(shown) > 16
    for name, views, inner in shown:
        index = int(name.removeprefix("train[").removesuffix("]"))
        picture, alt = views["view0"]
        assert np.array_equal(np.asarray(picture), images[index])
        assert alt.startswith(f"{name}, of class {digits().train.labels[index]}: ")
        assert f'<span class="name">{name}</span>' in inner


def test_mistakes_come_by_their_confidence(page: str, outputs: Path) -> None:
    section = page[page.index("<h2>Most confident mistakes") :]
    galleries = re.findall(r'<div class="gallery">(.*?)</div>', section, re.DOTALL)
    assert len(galleries) == 2
    for strategy in ("feature_extraction", "scratch"):
        (folder,) = (outputs / "small").glob(f"*-{strategy}-*")
        gallery = next(one for one in galleries if f"<h3>{strategy}: " in one)
        rows = sorted(mistakes_of(folder), key=lambda row: -float(row["confidence"]))[:16]
        found = [name for name, _, _ in cards(gallery)]
        assert found == [row["name"] for row in rows]
        for row, (_, views, _) in zip(rows, cards(gallery), strict=True):
            share = f"{100 * float(row['confidence']):.0f} %"
            assert f"{strategy} says {row['predicted_name']} ({share})" in views["view0"][1]


def test_maps_lie_over_the_pictures_on_demand(page: str) -> None:
    for _, views, _ in cards(page):
        assert sorted(views) == ["view0", "view1", "view2"]
        (one, first), (other, second) = views["view1"], views["view2"]
        assert one.size == other.size == (128, 128)
        assert first != second
        colours = [np.asarray(picture.convert("RGB")).astype(int) for picture in (one, other)]
        assert max(np.ptp(each, axis=2).max() for each in colours) > 20  # the picture alone is grey
    parsed = Page(page)
    assert (parsed.unclosed, parsed.mistakes) == ([], [])
    checked = [name for tag, name, _ in parsed.attributes if (tag, name) == ("input", "checked")]
    names = {value for tag, name, value in parsed.attributes if (tag, name) == ("input", "name")}
    assert len(checked) == len(names) == 3


def test_without_weights_the_plain_pictures_are_there(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "small", tmp_path / "small")
    for path in (tmp_path / "small").glob(f"*/{FINAL}"):
        path.unlink()
    text = gallery_text(tmp_path / "small", maps=True)
    assert "No maps: " in text
    assert "weights were not kept" in text
    assert all(sorted(views) == ["view0"] for _, views, _ in cards(text))
    assert len(cards(text)) > 16


def gallery_text(study: Path, *, maps: bool = False) -> str:
    section = mistakes_section(Table(compare(read(study))), Galleries(maps))
    return "".join(section.galleries)


def test_other_images_than_the_run_saw_are_not_shown(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "small", tmp_path / "small")
    for path in (tmp_path / "small").glob("*/result.json"):
        result = json.loads(path.read_text())
        result["digests"]["data"] = "0" * 32
        path.write_text(json.dumps(result))
    text = gallery_text(tmp_path / "small")
    assert "<img" not in text
    assert text.count("the images of digits are not those of the run any more (another digest)") == 1


def test_predictions_in_another_order_show_nothing(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "small", tmp_path / "small")
    for path in (tmp_path / "small").glob("*/predictions.csv"):
        head, *rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([head, *rows[::-1]]))
    assert "<img" not in gallery_text(tmp_path / "small")


def test_the_most_confident_wrong_answer_of_each_image() -> None:
    one = answered([0, 1, 2, 0], [1, 1, 0, 2], [0.6, 0.9, 0.7, 0.4]).answers
    other = answered([0, 1, 2, 0], [2, 0, 2, 0], [0.8, 0.5, 0.9, 0.9]).answers
    found = list_mistakes([one, other])
    assert [each.place for each in found] == [0, 2, 1, 3]
    assert [(each.seed, each.said, each.wrong) for each in found] == [(1, 2, 2), (0, 0, 1), (1, 0, 1), (0, 2, 1)]
    blind = [replace(each, confidence=None) for each in (one, other)]
    assert [each.place for each in list_mistakes(blind)] == [0, 1, 2, 3]
    assert list_mistakes(blind)[0].confidence is None


@pytest.fixture
def folder_run(tmp_path: Path) -> tuple[Run, Path]:
    """A run's folder for photographs in class folders, with what is needed to read them again."""
    photos, folder = tmp_path / "photos", tmp_path / "run"
    result = write_photos(folder, photos, ("<b>cat", "dog"), [f"{at}.png" for at in range(10)])
    return Run(folder, result, None), photos


def test_large_images_become_small_pictures_and_names_are_text(folder_run: tuple[Run, Path]) -> None:
    run, _ = folder_run
    name = next(one for one in find_test_images(run).part.names if "<b>cat" in one)
    row = find_test_images(run).part.names.index(name)
    shown = Shown(run, row, name, ("is <b>cat",), f"{name}, of class <b>cat", ())
    text = Galleries().draw(Selection("<i>rows</i>", [shown], ()), "one")
    assert "<b>" not in text
    assert "<i>" not in text
    ((_, views, _),) = cards(text)
    assert views["view0"][0].size == (128, 58)
    with pytest.raises(UserError, match=r"and not other\.png"):
        ImageReader().find(run).read(row, "other.png")


def test_what_keeps_pixels_away(folder_run: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, photos = folder_run
    with monkeypatch.context() as patch:
        patch.setattr(run_images, "MOST_READ", 1000)
        shutil.rmtree(photos.parent / "cache", ignore_errors=True)
        with pytest.raises(UserError, match="would have to be read"):
            find_test_images(run)
    find_test_images(run)
    changed = next((photos / "dog").iterdir())
    Image.new("RGB", (90, 200)).save(changed)
    with pytest.raises(UserError, match="not those of the run any more"):
        find_test_images(run)
    shutil.rmtree(photos)
    with pytest.raises(UserError, match="photos"):
        find_test_images(run)
    with pytest.raises(UserError, match="no digest"):
        find_test_images(replace(run, result={}))


def test_nothing_is_downloaded(folder_run: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run, _ = folder_run
    from torchvision import datasets

    asked: list[bool] = []

    def refuse(self: object) -> None:
        asked.append(True)
        raise OSError("no network here")

    monkeypatch.setattr(datasets.CIFAR10, "download", refuse)
    path = run.folder / "config.yaml"
    plain = yaml.safe_load(path.read_text())
    plain["data"]["source"] = {
        "_target_": "headstart.data.sources.torchvision",
        "name": "CIFAR10",
        "root": str(tmp_path / "none"),
    }
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(UserError, match="CIFAR10: not found"):
        find_test_images(run)
    assert not asked
