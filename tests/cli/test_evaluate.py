"""`headstart evaluate`: a run's own numbers again, and those on other data, whose classes are matched by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from headstart.cli.evaluate import choose_data
from headstart.cli.main import main
from headstart.errors import UserError
from headstart.predict.run import load_run, read_config
from predict.runs import digits, make_run

Evaluate = Callable[..., tuple[str, str]]
_load = cache(load_run)


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Evaluate:
    """Runs `headstart evaluate` in this process, loading each network once; returns its two streams."""
    monkeypatch.setattr("headstart.predict.run.load_run", _load)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        found = main(["evaluate", *map(str, arguments)])
        shown = capsys.readouterr()
        assert found == code, shown
        return shown.out, shown.err

    return run


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["neighbours", pytest.param("fine-tuned", marks=pytest.mark.slow)])
def test_a_runs_own_test_images_give_its_own_numbers(kind: str, evaluate: Evaluate, tmp_path: Path) -> None:
    result = make_run(kind)
    before = list_files(result.folder)
    shown, _ = evaluate(result.folder, "--json", "--out", "found")
    found: dict[str, Any] = json.loads(shown)
    assert {name: found[name] for name in ("test", "per_class", "n_test", "classes")} == {
        name: result[name] for name in ("test", "per_class", "n_test", "classes")
    }
    assert (found["run"], found["part"], found["classes_without_images"]) == (result.folder.name, "test", [])
    assert list_files(result.folder) == before, "nothing is written into the run's folder"
    assert json.loads((tmp_path / "found" / "evaluation.json").read_text()) == found
    for name in ("predictions.csv", "predictions.npz"):
        assert (tmp_path / "found" / name).is_file()
    own = (result.folder / "predictions.csv").read_text()
    assert (tmp_path / "found" / "predictions.csv").read_text() == own


def test_classes_are_matched_by_name(evaluate: Evaluate, tmp_path: Path) -> None:
    """Other data in which the classes 0 to 6 are missing, so that each of its classes has another number."""
    run = make_run("neighbours").folder
    for name in ("7", "8", "9"):
        shutil.copytree(digits() / name, tmp_path / "photos" / name)
    shown, said = evaluate(run, "photos", "--part", "all", "--json")
    found = json.loads(shown)
    assert found["n_test"] == 36
    assert found["test"]["accuracy"] > 0.6, "by number they would all be wrong"
    assert found["classes_without_images"] == [str(at) for at in range(7)]
    assert "stand in what the run was trained or validated on" in said
    shutil.copytree(digits() / "1", tmp_path / "photos" / "eleven")
    _, said = evaluate(run, "photos", "--part", "all", code=2)
    assert "does not know 1 class of these images: eleven" in said
    table, _ = evaluate(run, "photos", "--part", "all", "--skip-unknown")
    assert "left out, unknown to the run: eleven (12 images)" in table
    assert "classes without an image here: 0, 1, 2, 3, 4, 5, 6" in table
    assert "36 images (all)" in table


def test_mistakes_are_answered_in_words_with_code_2(evaluate: Evaluate) -> None:
    folder = make_run("neighbours").folder
    own = read_config(folder)
    for words, reason in {
        ("model=resnet18",): "only the data of a trained run can be set",
        ("data=digits", "data.image_size=64"): "cannot be set",
        ("data.n_tset=3",): "did you mean data.n_test",
        ("data=digit",): "digits",
        ("photos", "more"): "headstart evaluate takes one set of images, not 2: photos, more",
        (str(folder),): "is a run's folder; name its data",
        ("nosuchdir",): "there is no such file or folder, and no such name in conf/data",
        ("~data.n_test",): "only the data of a trained run can be set",
        ("data.n_test=5", "imports=[a.b]"): "--imports MODULE",
    }.items():
        with pytest.raises(UserError, match=reason):
            choose_data(own, words, None)
    config, _ = choose_data(own, ["data.n_test=20"], None)
    assert (config.n_test, config.source, config.split_seed) == (20, own.data.source, own.data.split_seed)
    _, said = evaluate("lenet5", code=2)
    assert "is no folder of a run" in said
    _, said = evaluate(folder, "--out", folder / "more", code=2)
    assert "lies in the run's folder" in said
    assert not (folder / "more").exists()
    (folder_file := Path("there")).write_text("")
    for out in ("there", "there/below"):
        assert "is a file" in evaluate(folder, "--out", out, code=2)[1]
    assert folder_file.read_text() == ""


def test_broken_images_of_all_parts_are_named_at_once(evaluate: Evaluate, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        for name in ("7", "8"):
            shutil.copytree(digits() / name, tmp_path / "photos" / part / name)
        (tmp_path / "photos" / part / "7" / f"broken-{part}.png").write_bytes(b"no image")
    _, said = evaluate(make_run("neighbours").folder, "photos", "--part", "all", code=2)
    assert "3 of 75 images cannot be read" in said
    assert all(f"broken-{part}.png" in said for part in ("train", "val", "test"))
