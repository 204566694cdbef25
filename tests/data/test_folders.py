"""A user's own images in folders of classes, with what is wrong in them named."""

import os
import shutil
from pathlib import Path

import pytest

from data.images import check_source, folder, picture, write_image
from headstart.data import sources
from headstart.errors import UserError


def test_a_class_may_have_an_odd_name_too(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"new\nline"):
        place = tmp_path / os.fsdecode(name)
        place.mkdir()
        picture(1).save(place / "1.png")
    assert sources.image_folder(str(tmp_path)).classes == (r"caf\xe9", r"new\nline")


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "a" / "self.png").symlink_to("self.png")
    (root / "train" / "b" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "val" / "a" / "pipe.png")
    with pytest.raises(UserError, match=r"(?s)3 of 27 image files do not exist.*self\.png.*gone\.png.*pipe\.png"):
        sources.image_folder(str(root))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_a_part_misses_is_told(part: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path)
    shutil.rmtree(root / part / "b")
    assert sources.image_folder(str(root)).classes == ("a", "b")
    assert f"classes without an image in {part}: b" in caplog.text


def test_image_folder_with_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, count in (("train", 3), ("valid", 1), ("test", 2)):
        for name in ("b", "a"):
            for i in range(count):
                write_image(tmp_path / part / name / "deep" / f"{i}.PNG", value=i)
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    write_image(tmp_path / "train" / "a" / "._hidden.jpg")
    (tmp_path / "extra").mkdir()
    source = sources.image_folder(str(tmp_path))
    check_source(source)
    assert source.classes == ("a", "b")
    assert source.val is not None
    assert source.test is not None
    assert (len(source.train), len(source.val), len(source.test)) == (6, 2, 4)
    assert "extra" in caplog.text


def test_image_folder_follows_links_but_no_loops(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere" / "x.png")
    write_image(tmp_path / "set" / "a" / "1.png")
    write_image(tmp_path / "set" / "b" / "1.png")
    (tmp_path / "set" / "a" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "self").symlink_to("self")
    (tmp_path / "set" / "b" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    source = sources.image_folder(str(tmp_path / "set"))
    names = [Path(n).relative_to(tmp_path / "set").as_posix() for n in source.train.names]
    assert names == ["a/1.png", "b/1.png", "b/more/x.png"]
    assert source.train.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "the folder is empty"),
        (["1.png", "2.png"], "its images are in no class folder"),
        (["a/1.png", "b/notes.txt"], r"b: no image in this class folder"),
        (["a/1.png"], r"only one class \('a'\)"),
        (["train/a/1.png", "train/b/1.png", "val/c/1.png"], "classes in val but not in train: c"),
        (["test/a/1.png", "test/b/1.png"], "but no folder train"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, paths: list[str], message: str) -> None:
    for path in paths:
        if path.endswith(".png"):
            write_image(tmp_path / path)
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("")
    with pytest.raises(UserError, match=message):
        sources.image_folder(str(tmp_path))


def test_missing_folder() -> None:
    with pytest.raises(UserError, match=r"data\.source\.root=nowhere"):
        sources.image_folder("nowhere")


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (("10", "2", "1"), ("1", "2", "10")),
        (("10", "-2", "1.5", "background"), ("-2", "1.5", "10", "background")),
        (("猫", "狗", "鳥"), ("狗", "猫", "鳥")),
    ],
)
def test_classes_are_in_the_order_of_tables(names: tuple[str, ...], ordered: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        write_image(tmp_path / name / "1.png")
    assert sources.image_folder(str(tmp_path)).classes == ordered


def test_classes_that_are_alike_are_refused_in_all_parts(tmp_path: Path) -> None:
    for part, name in (("train", "01"), ("train", "2"), ("val", "1")):
        write_image(tmp_path / part / name / "1.png")
    with pytest.raises(UserError, match="the classes '01' and '1' are the same number"):
        sources.image_folder(str(tmp_path))
