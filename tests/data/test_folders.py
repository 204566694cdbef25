"""A user's own images: folders of classes and CSV tables, with what is wrong in them named."""

import os
import shutil
from pathlib import Path

import numpy as np
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\ncafé.png,a\n".encode("latin-1"), "cannot be read as a CSV file in UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b'",a\n', "field larger than"),
        (b"path,label\n" + b"x" * 300 + b".png,a\ny.png,b\n", "2 of 2 image files do not exist"),
        (b"path,label\nnew\\\x00.png,a\ny.png,b\n", "2 of 2 image files do not exist|cannot be read as a CSV"),
    ],
)
def test_bad_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        sources.csv(str(tmp_path / "table.csv"))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_a_part_misses_is_told(part: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path)
    shutil.rmtree(root / part / "b")
    assert sources.image_folder(str(root)).classes == ("a", "b")
    assert f"classes without an image in {part}: b" in caplog.text


def test_a_class_only_in_validation_is_refused_in_a_table_too(tmp_path: Path) -> None:
    for name in "abc":
        picture(1).save(tmp_path / f"{name}.png")
    (tmp_path / "table.csv").write_text("path,label,split\na.png,1,train\nb.png,2,train\nc.png,3,val\n")
    with pytest.raises(UserError, match="classes in val but not in train: 3"):
        sources.csv(str(tmp_path / "table.csv"))


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


def test_csv(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / "pictures" / f"{i},x.png")
    table = tmp_path / "table.csv"
    table.write_text(
        '\ufeffpath,label,split\n"pictures/0,x.png",10,train\n"pictures/1,x.png",9,train\n'
        '"pictures/2,x.png",9,Test\n"pictures/3,x.png",10,validation\n',
        encoding="utf-8",
    )
    source = sources.csv(str(table))
    check_source(source)
    assert source.classes == ("9", "10")
    assert source.train.labels.tolist() == [1, 0]
    assert source.val is not None
    assert source.test is not None
    assert np.asarray(source.test.images[0]).shape == (10, 12, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'path'"),
        ("file,label\na,b\n", r"found: file, label.*data\.source\.image"),
        ("path,label,split\nx.png,a,dev\n", "line 2: split 'dev' is unknown"),
        ("path,label\nx.png,\n", "line 2.*empty"),
        ("path,label\nx.png,a\ny.png,b\n", r"2 of 2 image files do not exist:\n.*x\.png"),
        ("path,label\n", "no training image"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        sources.csv(str(tmp_path / "table.csv"))
