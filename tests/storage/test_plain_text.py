"""Text of others is shown and not acted on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from headstart.evaluation.metrics import save_predictions
from headstart.measures.measure import read_rows, write_rows
from headstart.storage.plain_text import escape_all, escape_controls, plain_cell, read_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08", r"a\rb\x08"),
        ("gpj.\u202egpj", r"gpj.\u202egpj"),
        ("café 東京 ß\n\t🐦", "café 東京 ß\n\t🐦"),
        ("\udcc3", r"\udcc3"),
    ],
)
def test_controls_become_visible(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert escape_all({text: [text, 1, None]}) == {shown: [shown, 1, None]}


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", " =1+1", "\t=1", "＝1+1", "-", "=HYPERLINK(1)"])
def test_a_formula_is_text(text: str) -> None:
    assert plain_cell(text).startswith("'")


@pytest.mark.parametrize("value", ["-2", "+0.5", "-1e-5", ".5", "cat", "a=b", "", 3, -2.5, None, True])
def test_what_is_no_formula_stays(value: object) -> None:
    assert plain_cell(value) is value or plain_cell(value) == value


@pytest.mark.parametrize(
    "text", ["=1+1", "-a", "'-a", "''=x", "'quoted'", "-2", "'-2", "cat", "'", "", "@", " =1", "'cat"]
)
def test_a_cell_is_read_as_it_was_meant(text: str) -> None:
    cell = plain_cell(text)
    assert read_cell(cell) == text
    assert not cell.startswith(("=", "@", "-a", " ="))


def test_rows_that_are_written_again_stay(tmp_path: Path) -> None:
    rows = [{"change": "-a", "accuracy": "-0.5"}, {"change": "'=b", "accuracy": "1"}]
    for _ in range(3):
        write_rows(tmp_path / "rows.csv", rows)
        assert read_rows(tmp_path / "rows.csv") == rows


def test_the_tables_of_a_run_hold_no_formula(tmp_path: Path) -> None:
    row = {"index": 0, "name": "=cmd|' /C calc'!A0", "label": 0, "predicted": 0, "confidence": 0.5, "top5": [0]}
    save_predictions(tmp_path / "predictions.csv", [row], ["+cat"])
    write_rows(tmp_path / "rows.csv", [{"change": "@x", "accuracy": -0.5}])
    cells = [
        cell for path in tmp_path.glob("*.csv") for line in csv.reader(path.read_text().splitlines()) for cell in line
    ]
    assert {"'=cmd|' /C calc'!A0", "'+cat", "'@x", "-0.5"} <= set(cells)
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]
