"""`headstart evaluate`: a run's own numbers again, and those on other data, whose classes are matched by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import fork_server
from headstart.cli.evaluate import choose_data
from headstart.errors import UserError
from headstart.predict.run import read_config
from predict.runs import digits, make_run


def evaluate(*arguments: str | Path, cwd: Path, code: int = 0) -> tuple[str, str]:
    """Run `headstart evaluate`; returns standard output and error."""
    done = fork_server.run("evaluate", *map(str, arguments), cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["neighbours", pytest.param("fine-tuned", marks=pytest.mark.slow)])
def test_a_runs_own_test_images_give_its_own_numbers(kind: str, tmp_path: Path) -> None:
    result = make_run(kind)
    before = list_files(result.folder)
    shown, _ = evaluate(result.folder, "--json", "--out", "found", cwd=tmp_path)
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


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """Other data in which the classes 0 to 6 are missing, so that each of its classes has another number."""
    run = make_run("neighbours").folder
    for name in ("7", "8", "9"):
        shutil.copytree(digits() / name, tmp_path / "photos" / name)
    shown, said = evaluate(run, "photos", "--part", "all", "--json", cwd=tmp_path)
    found = json.loads(shown)
    assert found["n_test"] == 36
    assert found["test"]["accuracy"] > 0.6, "by number they would all be wrong"
    assert found["classes_without_images"] == [str(at) for at in range(7)]
    assert "stand in what the run was trained or validated on" in said
    shutil.copytree(digits() / "1", tmp_path / "photos" / "eleven")
    _, said = evaluate(run, "photos", "--part", "all", cwd=tmp_path, code=2)
    assert "does not know 1 class of these images: eleven" in said
    table, _ = evaluate(run, "photos", "--part", "all", "--skip-unknown", cwd=tmp_path)
    assert "left out, unknown to the run: eleven (12 images)" in table
    assert "classes without an image here: 0, 1, 2, 3, 4, 5, 6" in table
    assert "36 images (all)" in table


def test_mistakes_are_answered_in_words_with_code_2(tmp_path: Path) -> None:
    folder = make_run("neighbours").folder
    own = read_config(folder)
    for words, reason in {
        ("model=resnet18",): "only the data of a trained run can be set",
        ("data=digits", "data.image_size=64"): "cannot be set",
        ("data.n_tset=3",): "did you mean data.n_test",
        ("data=digit",): "digits",
    }.items():
        with pytest.raises(UserError, match=reason):
            choose_data(own, words, None)
    config, _ = choose_data(own, ["data.n_test=20"], None)
    assert (config.n_test, config.source, config.split_seed) == (20, own.data.source, own.data.split_seed)
    _, said = evaluate("lenet5", cwd=tmp_path, code=2)
    assert "is no folder of a run" in said
    _, said = evaluate(folder, "--out", folder / "more", cwd=tmp_path, code=2)
    assert "lies in the run's folder" in said
    assert not (folder / "more").exists()
