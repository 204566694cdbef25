"""Runs on other images under one name: rows of their own, named, never seeds of one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.studies import compared, table
from study_files import scores, write_predictions, write_run

SAID = "digits is the name of different images, by their content: "


def reported(outputs: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], str]:
    """The seeds of each row by its data, and what the console says in one line."""
    compared(outputs, "demo")
    return {row["data"]: row["seeds"] for row in table(outputs)}, " ".join(capsys.readouterr().out.split())


def test_data_of_one_name_and_other_content_are_no_seeds_of_one_row(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in an audit: three data sets were `66.7 % ± 71.7, 3 seeds`."""
    for seed, (content, accuracy) in enumerate([("3f2a11", 1.0), ("77b0de", 0.5), ("77b0de", 0.5)]):
        update = {"digests": {"data": f"{seed}", "content": content}, "test": {"accuracy": accuracy}}
        write_run(outputs, seed=seed, update=update)
    rows, said = reported(outputs, capsys)
    assert rows == {"digits [3f2a]": "0", "digits [77b0]": "1 2"}
    where = "digits [3f2a] in 1 run (seed 0, 400 test images), digits [77b0] in 2 runs (seed 1, 2, 400 test images)."
    assert SAID + where in said
    assert SAID + where in (outputs / "demo/report/index.html").read_text()


def test_data_of_one_content_stay_one_row(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        write_run(outputs, seed=seed, update={"digests": {"data": f"{seed}", "content": "3f2a"}})
    rows, said = reported(outputs, capsys)
    assert rows == {"digits": "0 1"}
    assert SAID not in said


def test_older_runs_are_told_apart_by_their_test_images(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have no digest of the content; one that was tested on the images of a newer run belongs to it."""
    write_run(outputs, seed=0, update={"digests": {"data": "0", "content": "3f2a11"}})
    write_run(outputs, seed=1)
    other = write_run(outputs, seed=2)
    text = (other / "predictions.csv").read_text()
    (other / "predictions.csv").write_text(text.replace("test[", "photos["))
    rows, _ = reported(outputs, capsys)
    assert rows.pop("digits [3f2a]") == "0 1"
    assert list(rows.values()) == ["2"]


def test_other_cuts_of_one_data_set_need_no_further_name(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With fewer test images the digest differs, and so does the row."""
    for content, count in (("3f2a", 400), ("77b0", 200)):
        digests = {"data": content, "content": content}
        write_run(outputs, n_test=count, changes={"data.n_test": count}, update={"digests": digests})
    compared(outputs, "demo")
    assert [row["data"] for row in table(outputs)] == ["digits", "digits"]
    assert SAID not in capsys.readouterr().out


def test_of_five_classes_no_top5_is_shown_not_even_of_older_runs(outputs: Path) -> None:
    import numpy as np

    folder = write_run(outputs, classes=list("abcde"))
    labels = np.arange(10) % 5
    odds = np.eye(5)[labels] * 0.5 + 0.1
    write_predictions(folder, labels, odds)
    old = scores(labels, odds) | {"top5": 1.0}
    write_run(outputs, strategy="scratch", classes=list("abcde"), update={"test": old, "val": old})
    compared(outputs, "demo")
    assert {row["top5_mean"] for row in table(outputs)} == {""}
    assert {row["test.top5"] for row in table(outputs, "runs.csv")} == {""}
    assert "top-5" not in (outputs / "demo/report/index.html").read_text()
