"""Helpers of the tests of figures for a study's question."""

from __future__ import annotations

import csv
from pathlib import Path

from headstart.report import questions
from headstart.report.charts.render import write_png
from headstart.report.page.write import make_specs
from headstart.report.study.groups import Comparison, compare
from headstart.report.study.read import read


def drawn(figure: questions.Figure, folder: Path) -> str:
    """The caption of a figure of the study, whose picture was written."""
    section = figure.draw(compare(read(folder / "study")), folder / "figure.png")
    for name, specs in make_specs([section]).items():
        write_png(specs, folder / f"{name}.png")
    assert bool(section.pictures) == (folder / "figure.png").is_file()
    return section.caption


def of_study(folder: Path) -> Comparison:
    return compare(read(folder / "study"))


def write_changes(folder: Path, *rows: tuple[str, float, float]) -> None:
    with (folder / "changes.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("change", "size", "accuracy"), *rows])
