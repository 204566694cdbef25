"""The tables in words, and on a narrow terminal."""

from __future__ import annotations

import pytest

from headstart.models.published import KERAS_TABLE
from headstart.zoo import rows, tables
from headstart.zoo.plan import Plan
from zoo.networks import MACHINE


def test_text_says_how_it_was_measured_and_marks_what_is_published() -> None:
    numbers = {"ms_cpu": 12.34, "depth": 107, "size_mb": 97.695, "top1": 81.214, "weights": "a1_in1k", "here": "no"}
    found = [rows.make_row("resnet50", numbers), rows.make_row("a_b", {"depth": 3, "weights": "none"})]
    plan = Plan(("cpu",), batch=4, precision="bf16", repeats=7)
    lines = tables.make_caption(found, plan, MACHINE)
    text = tables.to_markdown(found, [*lines, *tables.make_remarks(found)])
    assert (
        "| resnet50 (ResNet50) | 97.7 (98) | 81.2 (74.9) | - (92.1) | 107 (107) | 12.3 (58.2) | a1\\_in1k | no |"
        in text
    )
    assert r"| a\_b | - | - | - | 3 | - |" in text
    assert "median of 7" in text
    assert "batch 4, bfloat16 by autocast" in text
    assert "2 threads" in text
    for note in filter(None, (row.published.note for row in found if row.published)):
        assert f"resnet50: {note}" in text
    assert r"a\_b: no published weights under this name" in text
    assert "In brackets" not in tables.make_caption([found[1]], plan, MACHINE)[0]


def test_a_narrow_terminal_gets_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    numbers = {"ms_cpu": 12.0, "depth": 107, "gmacs": 4.0, "size_mb": 97.0}
    found = [rows.make_row(row.model, numbers) for row in KERAS_TABLE]
    tables.print_table(found, [], Console(width=60, force_terminal=True, color_system=None))
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines()[: 4 + len(KERAS_TABLE)])) <= 60
    assert "ms CPU" in narrow
    assert "Left out, because the terminal is too narrow: " in narrow
    tables.print_table(found, [], Console(width=60, color_system=None))
    assert "Left out" not in capsys.readouterr().out, "what is piped is whole"
