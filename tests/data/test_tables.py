"""A user's own tables: read as they were meant, and what is wrong in them named with line and key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from conftest import check_components, compose
from data.images import check_source, write_image
from headstart.config.instantiate import build
from headstart.data import sources
from headstart.data.source import Source
from headstart.errors import UserError

NAMES = [f"{kind}{i}" for kind in ("cat", "dog") for i in range(2)]
PLAIN = [(f"{name}.png", name[:3]) for name in NAMES]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with four images, and a folder `flat` in it with four others."""
    for value, name in enumerate(NAMES):
        write_image(tmp_path / f"{name}.png", value=value)
        write_image(tmp_path / "flat" / f"{name}.jpg", value=10 + value)
    return tmp_path


def table(place: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("path", "label"), sep: str = ",") -> str:
    (place / "t.csv").write_text("\n".join(map(sep.join, [header, *rows])), "utf-8")
    return str(place / "t.csv")


def refused(path: str, message: str, **options: str) -> None:
    with pytest.raises(UserError, match=message):
        sources.csv(path, **options)


def names(source: Source) -> list[str]:
    return [Path(name).name for name in source.train.names]


def test_csv(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / "pictures" / f"{i},x.png")
    path = tmp_path / "table.csv"
    path.write_text(
        '\ufeffpath,label,split\n"pictures/0,x.png",10,train\n"pictures/1,x.png",9,train\n'
        '"pictures/2,x.png",9,Test\n"pictures/3,x.png",10,validation\n',
        encoding="utf-8",
    )
    source = sources.csv(str(path))
    check_source(source)
    assert source.classes == ("9", "10")
    assert source.train.labels.tolist() == [1, 0]
    assert source.val is not None
    assert source.test is not None
    assert np.asarray(source.test.images[0]).shape == (10, 12, 3)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffpath;label\r\na.png;x\r\nb.png;y z\r\n".encode(),
        "path\tlabel\na.png\tx\nb.png\ty z".encode("utf-16"),
        b"path, label\na.png, x\nb.png,  y z \n",
        b'"path" ;"label"; ""\n"a.png" ;"x";\nb.png; "y z";;;\n;;\n',
        b'\n\nlabel|note|path\nx|a, b; c|a.png\ny z|"two\nlines"|b.png\n',
        b"path,label\r./a.png,x\r\rb.png,y z\r",
    ],
    ids=["semicolons", "tabs", "blanks", "quotes", "bars", "old"],
)
def test_the_separator_is_found_out(content: bytes, tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_bytes(content)
    source = sources.csv(str(tmp_path / "t.csv"))
    assert (source.classes, source.train.labels.tolist(), names(source)) == (("x", "y z"), [0, 1], ["a.png", "b.png"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\ncafé.png,a\n".encode("latin-1"), "line 2: there is a letter that is not in UTF-8; save"),
        (b'path,label\n"' + b"x" * 200_000 + b'",a\n', "field larger than"),
        (b"path,label\n" + b"x" * 300 + b".png,a\ny.png,b\n", "2 of 2 image files do not exist"),
        (b"path,label\nnew\\\x00.png,a\ny.png,b\n", "2 of 2 image files do not exist|cannot be read as a CSV"),
        (b"", "has no column 'path' and no column 'label' in line 1 \\(found: nothing\\)"),
        (b"path,label\nx.png,\n", "line 2: 'label' is empty"),
        (b"path,label\nx.png\n", "line 2: 'label' is empty"),
        (
            b"path,label\n\nx,1.png,a\n",
            "line 3: 3 cells, but line 1 has 2; put a cell that contains the separator in q",
        ),
        (b'path,label\nx.png,a\n"y.png,b\nz.png,c\n', 'line 3: a quote \\("\\) is opened, and never closed'),
        (b'path,label\nx.png,"a\ny.png,b"\n', "line 3: 'label' contains a line break"),
        (b"path,label,label\nx.png,a,b\n", "line 1 names the column 'label' 2 times"),
        (b"path,label\n", "no training image"),
        (b"path,label\nx.png,a\ny.png,nan\n", "line 3: the label 'nan' in column 'label' is how"),
        (b"path,label,split\na,1,train\nb,2,train\nc,3,val\n", "classes in val but not in train: 3"),
    ],
)
def test_bad_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    refused(str(tmp_path / "table.csv"), message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("id", "breed"), r"\(found: id, breed\); name .* data\.source\.image=id data\.source\.label=breed$"),
        (("Path", "Label", "x"), r"data\.source\.image=Path data\.source\.label=Label$"),
        (("path", "class"), r"has no column 'label' in .*; name the column with data\.source\.label=class$"),
        (("image file", "a=b"), r"'data\.source\.image=\"image file\"' 'data\.source\.label=\"a=b\"'$"),
        (("cat0.png", "cat"), r"an image is no column: add a first line with names, such as path,label$"),
        (("a", "b", "c"), r"data\.source\.image=COLUMN data\.source\.label=COLUMN$"),
    ],
)
def test_a_missing_column_is_told_with_what_to_type(header: Sequence[str], message: str, place: Path) -> None:
    refused(table(place, [(*row, "x")[: len(header)] for row in PLAIN], header), message)


def test_ids_without_an_ending_and_images_in_another_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are those that the errors name, one after the other, and they are typed as on a command line."""
    path = table(place, [(name, name[:3]) for name in NAMES], ("1", "breed"))
    given = ["data=csv", f"data.source.path={path}", "data.source.image=1", "data.source.label=breed"]
    refused(path, r"data\.source\.image=1 data\.source\.label=breed")
    with pytest.raises(UserError, match=r"cat0\.png exists: type data\.source\.suffix=\.png$"):
        build("source", compose(*given).data.source)
    monkeypatch.chdir(place.parent)
    for folder in ("flat", f"{place.name}/flat", str(place / "flat")):  # beside the table, from here, in full
        config = compose(*given, f"data.source.images={folder}", "data.source.suffix=.jpg")
        check_components(config)
        source = build("source", config.data.source)
        assert names(source) == [f"{name}.jpg" for name in NAMES]
        assert source.classes == ("cat", "dog")


def test_a_folder_of_images_that_is_missing_or_there_twice_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(place, PLAIN)
    refused(path, "data.source.images=gone: there is no such folder, neither here nor beside", images="gone")
    (place / "here" / "flat").mkdir(parents=True)
    monkeypatch.chdir(place / "here")
    refused(path, "data.source.images=flat: there is such a folder here and another beside", images="flat")


def test_a_missing_image_is_looked_for_in_the_folders_near_the_table(place: Path) -> None:
    path = table(place, [(name, name[:3]) for name in NAMES])
    for name in NAMES:
        (place / f"{name}.png").unlink()
    refused(
        path, r"4 of 4 .*(?s:.*)flat/cat0\.jpg exists: type data\.source\.images=\S+flat data\.source\.suffix=\.jpg$"
    )
    refused(table(place, [(rf"flat\{name}.jpg", name[:3]) for name in NAMES]), r"They exist if / is written for \\ in")
    path = table(place, [(name, name[:3]) for name in NAMES])
    refused(path, r"If they lie in another folder: data\.source\.images=FOLDER\.$", suffix="bmp")


@pytest.mark.parametrize("name", ["Split", "subset", "fold", "partition", "phase"])
def test_an_official_split_is_used(name: str, place: Path) -> None:
    rows = [(*row, "Training" if row[0][3] == "0" else "TEST") for row in PLAIN]
    source = sources.csv(table(place, rows, ("path", "label", name)))
    assert source.test is not None
    assert (names(source), [Path(n).name for n in source.test.names]) == (
        ["cat0.png", "dog0.png"],
        ["cat1.png", "dog1.png"],
    )
    assert sources.csv(str(place / "t.csv"), split=name).test is not None
    whole = sources.csv(str(place / "t.csv"), split=None)
    assert (len(whole.train), whole.test) == (4, None)


def test_a_doubtful_split_is_asked_about(place: Path) -> None:
    path = table(place, [(*row, row[0][3]) for row in PLAIN], ("path", "label", "fold"))
    refused(path, r"the column 'fold' looks like an official split.*found: '0', '1'.*data\.source\.split=null")
    assert len(sources.csv(path, split=None).train) == 4
    refused(path, "line 2: split '0' is unknown; use train, val or test", split="fold")
    refused(
        path, r"data\.source\.split=Fold: .* has no column 'Fold' in line 1 \(found: path, label, fold\)", split="Fold"
    )
    assert compose("data=csv", f"data.source.path={path}", "data.source.split=null").data.source["split"] is None


def test_one_image_under_two_labels_or_in_two_parts_is_refused(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    table(place, [*PLAIN, (f"{place}/flat/../cat0.png", "dog")])
    refused("t.csv", r"line 6: the image '.*cat0.png' has the label 'dog', but 'cat' in line 2; one label per image is")
    rows = [(*row, "train") for row in PLAIN]
    refused(
        table(place, [*rows, (*PLAIN[0], "test")], ("path", "label", "split")),
        r"line 6: the image 'cat0.png' has the part 'test', but 'train' in line 2",
    )
    assert len(sources.csv(table(place, [*PLAIN, *PLAIN])).train) == 4
    assert "4 rows repeat an earlier row's image and label" in caplog.text


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("10", "2", "1", "9"), ("1", "2", "9", "10")),
        (("-2.0", "10.0", "-1.0", "0.0"), ("-2.0", "-1.0", "0.0", "10.0")),
        (("猫", "狗", "鳥", "猫"), ("狗", "猫", "鳥")),
    ],
)
def test_the_order_of_classes(labels: Sequence[str], classes: tuple[str, ...], place: Path) -> None:
    source = sources.csv(table(place, [(row[0], label) for row, label in zip(PLAIN, labels, strict=True)]))
    assert source.classes == classes
    assert [source.classes[label] for label in source.train.labels] == list(labels)


def test_alike_labels_are_refused_in_a_table(place: Path) -> None:
    labels = zip(PLAIN, ("1", "01", "2", "2"), strict=True)
    refused(table(place, [(row[0], label) for row, label in labels]), "the classes '01' and '1' are the same number")
    labels = zip(PLAIN, ("cat", "dog", "cat dog", "dog|cat"), strict=True)
    refused(
        table(place, [(row[0], label) for row, label in labels]),
        "line 4: the label 'cat dog' in column 'label' looks like several labels; one label per image is needed",
    )


def test_groups_stay_with_their_images(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(*row, f"p{row[0][3]}", "test" if row[0] == "cat1.png" else "train") for row in reversed(PLAIN)]
    path = table(place, rows, ("path", "label", "patient", "split"))
    source = sources.csv(path, group="patient")
    assert source.test is not None
    assert names(source) == ["cat0.png", "dog0.png", "dog1.png"]
    assert (source.train.groups, source.test.groups) == (("p0", "p0", "p1"), ("p1",))
    assert source.train.select(np.array([2, 0])).groups == ("p1", "p0")
    assert "repeats" not in caplog.text
    assert sources.csv(path).train.groups is None
    assert "column 'patient' repeats (2 values, 4 images): data.group=patient keeps the images of one" in caplog.text
    refused(path, r"data\.group=Patient: .*t\.csv has no column 'Patient' in line 1", group="Patient")
