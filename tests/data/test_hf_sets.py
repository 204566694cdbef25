"""Sets of Hugging Face datasets, from folders of parquet files and of `save_to_disk`."""

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.images import check_source, picture
from headstart.data import sources
from headstart.data.checks import check_images
from headstart.data.dataset import Data, prepare
from headstart.data.source import Source
from headstart.errors import UserError

datasets = pytest.importorskip("datasets")
NAMES = ["red", "green", "blue"]
TEXT = datasets.Value("string")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def encode(seed: int) -> dict[str, Any]:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def table(labels: list[Any], kind: Any = None, first: int = 0, **more: tuple[list[Any], Any]) -> Any:
    """A table with a column `picture` of images and a column `kind` of labels."""
    columns = {"picture": ([encode(first + at) for at in range(len(labels))], datasets.Image())}
    columns |= {"kind": (labels, kind or datasets.ClassLabel(names=NAMES))} | more
    features = datasets.Features({name: feature for name, (_, feature) in columns.items()})
    return datasets.Dataset.from_dict({name: cells for name, (cells, _) in columns.items()}, features=features)


def test_images_of_16_bits_have_the_range_of_the_set(tmp_path: Path) -> None:
    rows = []
    for level in (512, 1023) * 12:
        stream = io.BytesIO()
        Image.fromarray(np.full((8, 8), level, np.uint16)).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": None})
    kinds = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["dim", "bright"])})
    train = datasets.Dataset.from_dict({"picture": rows, "kind": [0, 1] * 12}, features=kinds)
    data = prepare_set(write(tmp_path / "deep", train=train))
    assert data.pixel_range == (0, 1023)
    assert set(data.train.images.flatten().tolist()) == {128, 255}


def write(folder: Path, **splits: Any) -> str:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        rows.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return str(folder)


def read(path: str, **options: Any) -> Source:
    return sources.hf_datasets(path, **options)


def test_a_folder_of_parquet_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = write(
        tmp_path / "set", train=table([2, 0, 1, 0]), validation=table([1], first=10), test=table([0], first=20)
    )
    source = read(path)
    check_source(source)
    assert source.classes == tuple(NAMES)
    assert source.train.labels.tolist() == [2, 0, 1, 0]
    assert source.val is not None
    assert source.test is not None
    assert (source.val.labels.tolist(), source.test.labels.tolist()) == ([1], [0])
    for split, first in ((source.train, 0), (source.val, 10), (source.test, 20)):
        for row in range(len(split)):
            assert split.images.raw(row) == encode(first + row)["bytes"]
            assert np.array_equal(np.asarray(split.images[row]), np.asarray(picture(first + row)))
    assert "train = train, val = validation, test = test" in caplog.text
    assert "in the order of the set's own names" in caplog.text


def test_no_image_is_decoded_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "set", train=table([0, 1]))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded"))
    assert len(read(path).train.row_digests([0, 1])[0]) == 16


@pytest.mark.parametrize(
    ("labels", "kind", "classes", "places"),
    [
        (["10", "9", "x", "9"], datasets.Value("string"), ("9", "10", "x"), [1, 0, 2, 0]),
        ([10, 9, -1], datasets.Value("int64"), ("-1", "9", "10"), [2, 1, 0]),
        ([True, False], datasets.Value("bool"), ("False", "True"), [1, 0]),
    ],
)
def test_labels_without_names(
    labels: list[Any], kind: Any, classes: tuple[str, ...], places: list[int], tmp_path: Path
) -> None:
    source = read(write(tmp_path / "set", train=table(labels, kind)), label="kind")
    assert source.classes == classes
    assert source.train.labels.tolist() == places


def test_save_to_disk_and_groups(tmp_path: Path) -> None:
    rows = table([0, 1, 2], patient=(["p", "q", "p"], datasets.Value("string")))
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "both")
    rows.save_to_disk(tmp_path / "one")
    for name in ("both", "one"):
        source = read(str(tmp_path / name), group="patient")
        assert source.train.groups == ("p", "q", "p")
        assert source.val is source.test is None


def test_a_column_of_parts_is_used_or_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    parts = ["train", "Test", "train", "test", "train", "train"]
    path = write(tmp_path / "set", train=table([0, 1, 2, 0, 1, 0], Split=(parts, TEXT)))
    source = read(path)
    assert source.test is not None
    assert (source.train.labels.tolist(), source.test.labels.tolist()) == ([0, 2, 1, 0], [1, 0])
    assert source.test.images.raw(1) == encode(3)["bytes"]
    assert "the parts are those of the column 'Split'" in caplog.text
    assert read(path, split=None).test is None
    assert read(path, split="Split").test is not None
    names = datasets.ClassLabel(names=["train", "valid"])
    named = read(write(tmp_path / "named", train=table([0, 1, 2], fold=([0, 1, 0], names))), label="kind")
    assert named.val is not None
    assert named.val.labels.tolist() == [1]
    with pytest.raises(UserError, match="the column 'fold' looks like an official split"):
        read(write(tmp_path / "folds", train=table([0, 1, 2], fold=([0, 1, 2], datasets.Value("int64")))))
    with pytest.raises(UserError, match=r"data\.source\.split=part: there is no such column"):
        read(path, split="part")


def test_a_column_of_groups_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "set", train=table([0, 1, 2], patient=(["p", "q", "p"], TEXT)))
    read(path)
    assert "column 'patient' repeats (2 values, 3 images): data.group=patient keeps" in caplog.text
    caplog.clear()
    read(path, group="patient")
    assert caplog.text == ""


def test_secret_labels_are_no_test_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = read(write(tmp_path / "set", train=table([0, 1, 2]), test=table([-1, -1], first=5)))
    assert source.test is None
    assert "split 'test' has no labels and is not used" in caplog.text
    with pytest.raises(UserError, match="1 of 2 images in test have no label"):
        read(write(tmp_path / "part", train=table([0, 1, 2]), test=table([-1, 1], first=5)))


SEVERAL = datasets.Sequence(datasets.ClassLabel(names=NAMES))
MISTAKES: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any], str]] = {
    "several labels": (lambda: {"train": table([[0, 1], [1]], SEVERAL)}, {"label": "kind"}, "several labels per image"),
    "lists as texts": (lambda: {"train": table(["a|b", "c"], TEXT)}, {"label": "kind"}, "looks like several labels"),
    "fractions": (
        lambda: {"train": table([0.5, 1.0], datasets.Value("float32"))},
        {"label": "kind"},
        "float32, not of",
    ),
    "no label": (
        lambda: {"train": table(["a", "b"], TEXT)},
        {},
        r"which column has the labels\? data.source.label=NAME",
    ),
    "two labels": (
        lambda: {"train": table([0, 1], other=([0, 1], datasets.ClassLabel(names=NAMES)))},
        {},
        "which column has the labels",
    ),
    "two images": (
        lambda: {"train": table([0, 1], mask=([encode(1), encode(2)], datasets.Image()))},
        {},
        "choose one: data.source.image=picture",
    ),
    "no such column": (lambda: {"train": table([0, 1])}, {"image": "pictur"}, "did you mean picture"),
    "no image column": (lambda: {"train": table([0, 1])}, {"image": "kind"}, "ClassLabel, not of images"),
    "no train": (lambda: {"test": table([0, 1])}, {}, "which split is for training"),
    "no such split": (lambda: {"train": table([0, 1])}, {"val": "dev"}, "data.source.val=dev: there is no such split"),
    "one split twice": (lambda: {"train": table([0, 1])}, {"train": "train", "test": "train"}, "cannot be two parts"),
    "alike": (lambda: {"train": table(["1", "01"], TEXT)}, {"label": "kind"}, "are the same number"),
    "unknown in test": (
        lambda: {"train": table(["a", "b"], TEXT), "test": table(["c"], TEXT)},
        {"label": "kind"},
        "classes in test but not in train: c",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_sure_is_asked_or_refused(name: str, tmp_path: Path) -> None:
    make, options, words = MISTAKES[name]
    with pytest.raises(UserError, match=words):
        read(write(tmp_path / "set", **make()), **options)


def test_splits_are_named_by_keys_and_others_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = {"train": table([0, 1]), "dev": table([2], first=5), "extra": table([1], first=9)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    source = read(str(tmp_path / "set"), test="dev")
    assert source.test is not None
    assert source.test.labels.tolist() == [2]
    assert "these splits are not used: extra" in caplog.text


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'headstart\[hf\]'"):
        read("any")


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"data\.source\.path=.*cannot be read by datasets"):
        read(str(tmp_path))


def test_a_replaced_file_is_read_again_though_its_times_are_the_old_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "set", train=table([0, 1]))
    file = tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    before = file.stat()
    assert read(path).train.labels.tolist() == [0, 1]
    write(tmp_path / "set", train=table([1, 0]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(path).train.labels.tolist() == [1, 0]


def prepare_set(path: str) -> Data:
    from conftest import compose

    config = compose("data=hf_datasets", f"data.source.path={path}").data
    return prepare(config, image_size=16, crop_pct=1.0, interpolation="bilinear")


def test_a_damaged_image_is_named_before_training(tmp_path: Path) -> None:
    rows = table([at % 3 for at in range(30)])
    cells = [encode(at) for at in range(30)]
    cells[4]["bytes"] = b"no image"
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = datasets.Dataset.from_dict({"image": cells, "label": [at % 3 for at in range(30)]}, features=features)
    data = prepare_set(write(tmp_path / "set", train=rows))
    with pytest.raises(UserError, match=r"train\[4\]: no image in a format that Pillow knows"):
        check_images(data, "raise", None)


def test_pixels_are_those_of_the_images(tmp_path: Path) -> None:
    data = prepare_set(write(tmp_path / "set", train=table([at % 3 for at in range(30)])))
    check_images(data, "raise", None)
    assert data.train.images.shape == (len(data.parts["train"]), 3, 16, 16)
    row = int(data.parts["train"].rows[0])
    expected = np.asarray(picture(row))[:, 2:18]  # the centre of 20x16 pixels
    assert np.array_equal(data.train.images[0].permute(1, 2, 0).numpy(), expected)


def test_an_image_keeps_its_part_when_another_comes_before_it(tmp_path: Path) -> None:
    few = read(write(tmp_path / "few", train=table([0, 1, 2], first=1)))
    more = read(write(tmp_path / "more", train=table([0, 0, 1, 2], first=0)))
    assert more.train.stable_keys()[1:] == few.train.stable_keys()
