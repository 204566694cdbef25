"""`headstart predict`: the same answers in every form, exit codes, and names that do nothing to a terminal or sheet."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

import fork_server
from headstart.cli.image_words import list_images
from headstart.cli.main import main
from headstart.errors import UserError
from headstart.predict.load import load as load_network
from predict.runs import digits, load, make_run

Predict = Callable[..., tuple[str, str]]


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Runs `headstart predict` in this process, loading each network once; returns its two streams."""
    monkeypatch.setattr("headstart.predict.load.load", _load)

    def run(*arguments: str | Path, cwd: Path, code: int = 0) -> tuple[str, str]:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        found = main(["predict", *map(str, arguments)])
        shown = capsys.readouterr()
        assert found == code, shown
        return shown.out, shown.err

    return run


_load = cache(load_network)


@pytest.fixture(scope="module")
def run() -> Path:
    """The folder of a completed run."""
    return Path(make_run("neighbours").folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with five images at two depths, two of them with harmful names, and one that is no image."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    sound = sorted(digits().rglob("*.png"))[::24]
    for source, name in zip(sound, ("a.png", "=1+1.png", "\x1b[31mred.png", "more/b.png", "more/c.png"), strict=True):
        shutil.copy(source, folder / name)
    (folder / "broken.png").write_text("no image")
    (folder / "notes.txt").write_text("not used")
    return folder


def test_table_json_csv_and_python_agree(predict: Predict, run: Path, photos: Path, tmp_path: Path) -> None:
    asked = (run, photos, "--top", "3", "--csv", "answers.csv")
    table, said = predict(*asked, "--figure", "sheet.png", cwd=tmp_path, code=1)
    assert "1 of 6 images cannot be read" in said
    assert "notes.txt" in said
    assert "\x1b" not in table + said
    lines, _ = predict(*asked, "--json", "--batch-size", "2", cwd=tmp_path, code=1)
    found = {line["image"]: line for line in map(json.loads, lines.splitlines())}
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    network = load("neighbours")
    for each, row in zip(
        network.predict(sorted(found), top=3), sorted(rows, key=lambda row: row["image"]), strict=False
    ):
        line = found[str(each.image)]
        if each.error:
            assert line == {"image": each.image, "error": each.error}
            continue
        assert line["labels"] == list(each.labels)
        assert line["probabilities"] == pytest.approx(each.probabilities, abs=1e-5)
        assert len(row) == 8
    by_name = {row["image"].rpartition("/")[2]: row for row in rows}
    assert by_name["broken.png"]["error"] == "no image in a format that Pillow knows"
    assert r"\x1b[31mred.png" in by_name
    answers = {line.split()[0]: line.split()[1] for line in table.splitlines()[1:] if "cannot be read" not in line}
    assert len(answers) == 5
    for name, line in found.items():
        if "labels" in line:
            assert answers[name.replace("\x1b", r"\x1b")] == line["labels"][0]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.width, sheet.height) == (3 * 392, 2 * 160)


def test_formulas_in_names_are_defused_in_the_table(predict: Predict, run: Path, photos: Path, tmp_path: Path) -> None:
    predict(run, "=1+1.png", "--csv", tmp_path / "answers.csv", cwd=photos)
    assert (tmp_path / "answers.csv").read_text().splitlines()[1].startswith("'=1+1.png,")


def test_paths_come_from_standard_input_and_patterns(predict: Predict, run: Path, photos: Path) -> None:
    listed = photos.parent / "list.txt"
    listed.write_text("photos/more/c.png\n\nnone.png\nphotos/a.png\n")
    before = f"import os; os.dup2(os.open({str(listed)!r}, os.O_RDONLY), 0)"
    done = fork_server.run("predict", str(run), "-", "--json", "--top", "1", cwd=photos.parent, before=before)
    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in found] == ["photos/more/c.png", "none.png", "photos/a.png"]
    assert found[1]["error"] == "there is no such file"
    lines, _ = predict(run, "photos/**/[bc].png", "--json", "--top", "1", cwd=photos.parent)
    assert [json.loads(line)["image"] for line in lines.splitlines()] == ["photos/more/b.png", "photos/more/c.png"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].png").touch()
    (tmp_path / "a1.png").touch()
    assert list_images([str(tmp_path / "a[1].png")]) == [str(tmp_path / "a[1].png")]
    (tmp_path / "a[1].png").unlink()
    assert list_images([str(tmp_path / "a[1].png")]) == [str(tmp_path / "a1.png")]


def test_words_without_an_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"no image found in this folder[^$]*notes\.txt"):
        list_images([str(tmp_path)])
    with pytest.raises(UserError, match="no image found: no file has such a name"):
        list_images([str(tmp_path / "*.png")])


def test_mistakes_are_answered_in_words_with_code_2(predict: Predict, run: Path, photos: Path, tmp_path: Path) -> None:
    _, said = predict(run, photos / "notes.txt", cwd=tmp_path, code=2)
    assert "none of the images could be read" in said
    _, said = predict("lenet5", photos / "a.png", cwd=tmp_path, code=2)
    assert "--untrained answers all the same" in said
    _, said = predict(run, photos / "a.png", "--csv", photos, cwd=tmp_path, code=2)
    assert "is a folder; name a file" in said
    assert predict("lenet5", photos / "a.png", "--untrained", "--json", cwd=tmp_path)[0].count("class ") == 5
    for words, reason in {
        ("~nobody-here",): "is no folder of a run",
        ("a" * 300,): "is no folder of a run",
        (run, "--csv", photos / "a.png" / "x.csv"): "a.png is a file, so nothing can be written below it",
        (run, "--csv", "same.png", "--figure", "same.png"): "both are same.png",
        (run, "--figure", "f.jpg"): "a figure is a PNG; name it f.png",
        (run, "--device", "meta"): "networks run on cpu and cuda here",
    }.items():
        _, said = predict(words[0], photos / "a.png", *words[1:], cwd=tmp_path, code=2)
        assert reason in said
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".csv", ".jpg")]


def test_whoever_reads_no_further_is_no_full_disk(run: Path, photos: Path, tmp_path: Path) -> None:
    before = "import os; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1)"  # a pipe that nobody reads
    done = fork_server.run(
        "predict", str(run), str(photos / "a.png"), "--json", "--csv", "answers.csv", cwd=tmp_path, before=before
    )
    assert "Make room" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*answers*"))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("headstart.data.walk.scan", refuse)
    with pytest.raises(UserError, match="this folder cannot be read: Permission denied"):
        list_images([str(tmp_path)])


def test_numbers_that_make_no_sense_are_refused_in_python(run: Path, photos: Path) -> None:
    network = _load(run)
    for numbers, reason in (({"top": 0}, "top=0"), ({"batch_size": 0}, "batch_size=0")):
        with pytest.raises(UserError, match=reason):
            network.predict(photos / "a.png", **numbers)
    assert network.predict(photos / "a.png", batch_size=10**30)[0].labels == network.predict(photos / "a.png")[0].labels


def test_the_range_of_16_bits_can_be_given(predict: Predict, run: Path, tmp_path: Path) -> None:
    deep = next(digits(16).rglob("*.png"))
    _, said = predict(run, deep, cwd=tmp_path, code=2)
    assert "none of the images" in said
    shown, _ = predict(run, deep, "--pixel-range", "0", "4095", cwd=tmp_path)
    assert "cannot be read" not in shown
