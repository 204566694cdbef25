"""Part folders under any usual name; where folders can be parts or classes, the person is asked."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.images import write_image
from headstart.data import sources
from headstart.data.source import Source
from headstart.errors import UserError


def make(root: Path, *paths: str) -> str:
    """Write images (and `…/` empty folders) below a root; a class name in braces stands for cat and dog."""
    for path in paths:
        for name in ("cat", "dog") if "{}" in path else ("",):
            place = root / path.format(name)
            place.mkdir(parents=True) if path.endswith("/") else write_image(place, value=len(path))
    return str(root)


def sizes(source: Source) -> tuple[int | None, ...]:
    return tuple(None if split is None else len(split) for split in (source.train, source.val, source.test))


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("Train", "Test"), (6, None, 2)),
        (("Training", "Testing"), (6, None, 2)),
        (("TRAIN", "VALID"), (6, 4, None)),
        (("train", "validation"), (6, 4, None)),
        (("Train", "Val", "Test"), (6, 4, 2)),
        (("training_set/training_set", "test_set/test_set"), (6, None, 2)),
        (("train2017", "val2017"), (6, 4, None)),
    ],
    ids=str,
)
def test_part_folders_have_many_names(
    folders: Sequence[str], parts: tuple[int | None, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    counts = {"tr": 3, "va": 2, "te": 1}
    for name in folders:
        make(tmp_path, *(f"{name}/{{}}/{i}.png" for i in range(counts[name[:2].lower()])))
    source = sources.image_folder(str(tmp_path))
    assert (source.classes, sizes(source)) == (("cat", "dog"), parts)
    assert f"train = {folders[0].split('/')[-1]}" in caplog.text
    assert ("val will be cut from train" in caplog.text) == (parts[1] is None and parts[2] is not None)
    assert "not used" not in caplog.text


T, V, E = "train/{}/1.png", "val/{}/1.png", "test/{}/1.png"
UNCLEAR = {
    "two of one part": ((T, V, "Valid/{}/2.png"), "2 folders are called like the part val: Valid, val"),
    "a class called train": (("train/1.png", "bus/1.png", "car/1.png"), "train is called like a part, but has no cl"),
    "a class called test": (("test/1.png", "bus/1.png"), "test is called like a part, but no folder is called train"),
    "trains of two kinds": (("train/old/1.png", "train/new/1.png", "bus/1.png"), "bus has images too"),
    "a part of another name": ((T, E, "dev/{}/1.png"), r"dev has class folders of train in it \(cat, dog\)"),
    "other words": (("seg_train/a/1.png", "seg_test/b/1.png"), "the names look like test, train"),
    "folds": (("fold1/{}/1.png", "fold2/{}/1.png"), "fold1 and fold2 have folders of the same names: cat, dog"),
    "parts in classes": (("{}/train/1.png", "{}/test/1.png"), "cat has the folders test, train in it"),
    "parts below": (("images/train/a/1.png", "images/test/a/1.png", "labels/"), r"data\.source\.root=.*/images"),
}


NONE_CALLED_TRAIN = {"a class called test", "folds", "parts in classes", "parts below"}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_can_be_understood_in_two_ways_is_asked(case: str, tmp_path: Path) -> None:
    paths, reason = UNCLEAR[case]
    with pytest.raises(UserError, match=rf"(?s)data\.source\.root=.*not clear.*{reason}") as caught:
        sources.image_folder(make(tmp_path, *paths))
    message = str(caught.value)
    assert "\n  data.source.layout=classes: " in message
    advice = "if they are parts: call them train" if case in NONE_CALLED_TRAIN else "data.source.layout=splits: "
    assert f"\n  {advice}" in message
    assert all(f"\n    {folder.name}: " in message for folder in tmp_path.iterdir())


def test_the_key_settles_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "bus", "train/1.png", "bus/1.png", "car/1.png")
    assert sources.image_folder(root, layout="classes").classes == ("bus", "car", "train")
    root = make(tmp_path / "joined", T, V, "Valid/{}/2.png", "dev/{}/1.png")
    source = sources.image_folder(root, layout="splits")
    assert (source.classes, sizes(source)) == (("cat", "dog"), (2, 4, None))
    assert "images in dev, which is not called like train, val or test: 2 (dev/cat/1.png, dev/dog/1.png)" in caplog.text
    root = make(tmp_path / "seg", "seg_train/seg_train/{}/1.png", "seg_test/seg_test/{}/1.png", "seg_pred/1.png")
    source = sources.image_folder(root, layout="splits")
    assert (source.classes, sizes(source)) == (("cat", "dog"), (2, None, 2))
    root = make(tmp_path / "folds", "fold1/{}/1.png", "fold2/{}/1.png")
    assert sources.image_folder(root, layout="classes").classes == ("fold1", "fold2")
    with pytest.raises(UserError, match=r"splits: .* has no folder called train \(found: fold1, fold2\)"):
        sources.image_folder(root, layout="splits")
    with pytest.raises(UserError, match=r"data\.source\.layout=clases is unknown; use one of: auto, splits, classes"):
        sources.image_folder(root, layout="clases")


def test_names_that_only_sound_like_parts_are_classes(tmp_path: Path) -> None:
    root = make(tmp_path, "test_tube/1.png", "train station/deep/1.png", "validity/1.png")
    assert sources.image_folder(root).classes == ("test_tube", "train station", "validity")


def test_a_root_that_is_one_folder_too_high_is_told(tmp_path: Path) -> None:
    for name, inside in (("plain", "photos/{}/1.png"), ("parts", "photos/train/{}/1.png")):
        root = (
            make(tmp_path / name, inside, "photos/test/{}/1.png") if name == "parts" else make(tmp_path / name, inside)
        )
        with pytest.raises(UserError, match=r"has only the folder photos, .*; type data\.source\.root=.*/photos$"):
            sources.image_folder(root)


def test_train_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: no class folder holds its 1 image; .*data=csv"):
        sources.image_folder(make(tmp_path, "train/1.png", "test/2.png"))


def test_every_unused_thing_is_named_in_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path, T, "val/", "train/x.png", "y.png", "train/cat/@eaDir/1.png", "__MACOSX/1.png", ".trash/1.png")
    make(tmp_path, *(f"test/{i}.png" for i in range(6)), "train/cat/._1.png", "docs/")
    for name in ("cat/1.heic", "cat/2.HEIC", "cat/notes.txt", "dog/README", "dog/.DS_Store", "Thumbs.db"):
        (tmp_path / "train" / name).write_text("no image")
    source = sources.image_folder(root)
    assert sizes(source) == (2, None, None)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.splitlines() == [
        f"{root}: these are not used:",
        "    .heic files, which are not read as images here: 2 (train/cat/1.heic, train/cat/2.HEIC)",
        "    .txt files, which are not read as images here: 1 (train/cat/notes.txt)",
        "    empty folders: 1 (val)",
        "    files without an ending: 1 (train/dog/README)",
        "    folders that are hidden or made by the system: 3 (.trash, __MACOSX, train/cat/@eaDir)",
        "    folders without an image: 1 (docs)",
        "    hidden files: 1 (train/cat/._1.png)",
        "    images beside the folders of classes or parts: 1 (y.png)",
        "    images in test, which has no class folders, so that they have no label: 6 (test/0.png, test/1.png,"
        " test/2.png, …)",
        "    images in train, but in none of its class folders: 1 (train/x.png)",
    ]


def test_a_part_whose_class_folders_are_all_empty_is_cut_from_train(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = sources.image_folder(make(tmp_path, T, "val/cat/", "val/dog/"))
    assert sizes(source) == (2, None, None)
    assert "folders without an image: 2 (val/cat, val/dog)" in caplog.text
    assert "val and test will be cut from train" in caplog.text


def test_an_empty_class_folder_says_what_is_in_it(tmp_path: Path) -> None:
    root = make(tmp_path, "cat/1.png", "dog/")
    (tmp_path / "dog" / "1.heic").write_text("")
    with pytest.raises(UserError, match=r"(?s)dog: no image in this class folder.*\.heic files.*: 1 \(1\.heic\)"):
        sources.image_folder(root)


def test_class_names_are_kept_in_any_script(tmp_path: Path) -> None:
    assert set(sources.image_folder(make(tmp_path, "猫/1.png", "狗/1.png", "鳥/1.png")).classes) == {"猫", "狗", "鳥"}
