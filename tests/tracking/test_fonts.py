"""No picture shows a box for a letter that its font does not have."""

from __future__ import annotations

import pytest
from PIL import ImageDraw, ImageFont

from headstart.tracking import fonts
from headstart.tracking.confusion import draw_confusion

HIEROGLYPH = "\U00013000"


def test_the_usual_letters_and_arrows_can_be_drawn() -> None:
    text = "true ↓ predicted → é ü ß å ñ Ж λ …"
    assert fonts.can_draw(fonts.load_font([text], 11), text)
    assert not fonts.can_draw(ImageFont.load_default(11), "→")  # Pillow's own font shows boxes


def test_a_name_that_no_font_has_becomes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_find_system_font", lambda letters, size: None)
    names = ["Katze", HIEROGLYPH, "ß"]
    font = fonts.load_font(names, 11)
    assert fonts.name_what_cannot_be_drawn(names, font) == ["Katze", "class 1", "ß"]


def test_a_font_of_the_system_is_used_if_it_has_all_letters() -> None:
    found = fonts._find_system_font("aé", 11)
    assert found is None or fonts.can_draw(found, "aé")


def test_the_picture_of_a_matrix_draws_only_letters_that_its_fonts_have(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, object]] = []
    plainly = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, xy: object, words: str, **options: object) -> None:
        drawn.append((words, options["font"]))
        plainly(self, xy, words, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    draw_confusion([0, 1, 2], [0, 1, 1], ["größe", HIEROGLYPH, "ålesund" * 5])
    words = "".join(word for word, _ in drawn)
    assert all(expected in words for expected in ("größe", "↓", "→", "…"))
    assert all(fonts.can_draw(font, word) for word, font in drawn)
