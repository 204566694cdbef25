"""No plot of the report shows a box for a letter that its font does not have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from headstart.report import classes, confusion
from headstart.report.style import Palette
from headstart.tracking import plot_fonts as fonts
from headstart.tracking import plot_style as style
from report.studies import looked_at

CLASSES = ["猫", "größe", "\U00013000"]  # the last is a hieroglyph


def make_font(path: Path, letter: str) -> str:
    """Write a font that has one letter, a square."""
    pen = TTGlyphPen(None)
    for move, point in zip([pen.moveTo, pen.lineTo, pen.lineTo], [(0, 0), (0, 900), (900, 900)], strict=True):
        move(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "letter"])
    builder.setupCharacterMap({ord(letter): "letter"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "letter": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "letter": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """matplotlib's warning of a letter that no font has is an error, and no font is known from another test."""
    monkeypatch.setattr(fonts, "_families", {})
    monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist])
    with warnings.catch_warnings(), mpl.rc_context(style.STYLE):
        warnings.simplefilter("error")
        yield


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []

    def save(figure: Figure, path: Path) -> Path:
        figures.append(figure)
        return style.save(figure, path)

    for module in (confusion, classes):
        monkeypatch.setattr(module, "save", save)
    return figures


def draw(path: Path, saved: list[Figure]) -> Axes:
    """Draw a confusion matrix with the title 猫; returns its axes as they were saved."""
    confusion.draw_matrix(np.eye(3), CLASSES, "猫", path)
    assert path.is_file()
    return saved[0].axes[0]


def test_a_font_of_the_machine_draws_what_the_own_font_lacks(
    saved: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    files = [str(tmp_path / "damaged.ttf"), make_font(tmp_path / "one.ttf", "猫")]
    monkeypatch.setattr(fonts, "list_system_fonts", lambda: files)
    axes = draw(tmp_path / "a.png", saved)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["猫", "größe", "class 2"]
    assert axes.get_title(loc="left") == "猫"


def test_what_no_font_has_is_written_otherwise(
    saved: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "list_system_fonts", list)
    axes = draw(tmp_path / "a.png", saved)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["class 0", "größe", "class 2"]
    assert axes.get_title(loc="left") == r"\u732b"


def test_classes_beside_their_recall_have_such_names_too(
    study: Path, saved: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "list_system_fonts", list)
    comparison, family = looked_at(study)
    pair = family.tested[0]
    pair.one.runs[0].result["classes"][3] = "猫"
    classes.draw_changes(comparison, pair, classes.changes(pair), Palette(comparison.groups), tmp_path / "a.png")
    names = {label.get_text() for label in saved[0].axes[0].get_yticklabels()}
    assert names == {"class 3", *(str(at) for at in range(10) if at != 3)}


def test_ticks_that_no_font_can_draw_show_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "list_system_fonts", list)
    figure = style.sheet(2, 2)
    axes = figure.add_subplot()
    axes.set_yticks([0, 1], ["猫", "b"])
    style.save(figure, tmp_path / "a.png")
    assert [label.get_text() for label in axes.get_yticklabels()] == [r"\u732b", "b"]
