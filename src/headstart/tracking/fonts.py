"""A font that can draw given names, so that no picture shows a box for a letter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

ABSENT = "\U0010ffff"  # no font has it: it is drawn as the box that stands for every absent letter


def load_font(texts: Iterable[str], size: float) -> FreeTypeFont:
    """Load a font for these texts: DejaVu Sans, or else a font of the system if one has all of their letters.

    DejaVu Sans has Latin, Greek and Cyrillic letters, arrows and signs. It comes with matplotlib, which is not imported
    for it (0.7 s). Pillow's own default font has no accents and no arrows.
    """
    from PIL import ImageFont

    letters = "".join(sorted(set("".join(texts))))
    font = ImageFont.truetype(find_bundled_font(), size)
    return font if can_draw(font, letters) else _find_system_font(letters, size) or font


def can_draw(font: FreeTypeFont, text: str) -> bool:
    """Whether the font has all letters of a text."""
    box = bytes(font.getmask(ABSENT))
    return all(letter.isspace() or bytes(font.getmask(letter)) != box for letter in set(text))


def shorten(text: str, font: FreeTypeFont, width: float, *, start: bool = False) -> str:
    """Cut a text with … so that it fits into so many pixels; a letter that the font lacks stands as ?.

    Args:
        start: cut its beginning, in place of its end. Of an end such as `: 97 %` the share stays.
    """
    text = "".join(letter if can_draw(font, letter) else "?" for letter in text)
    if font.getlength(text) <= width:
        return text
    head, colon, share = text.rpartition(":") if text.endswith("%") else (text, "", "")
    while head:
        head = head[1:] if start else head[:-1]
        short = f"…{head}{colon}{share}" if start else f"{head}…{colon}{share}"
        if font.getlength(short) <= width:
            return short
    return "…"


def name_what_cannot_be_drawn(names: Sequence[str], font: FreeTypeFont) -> list[str]:
    """The names, with `class N` (its place, from 0) for each that the font cannot draw."""
    return [name if can_draw(font, name) else f"class {at}" for at, name in enumerate(names)]


def find_bundled_font() -> Path:
    """The file of DejaVu Sans, in a folder with its other styles."""
    found = find_spec("matplotlib")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def list_system_fonts() -> list[str]:
    """The files of the system's fonts, plain ones first; not those that have a box for every letter."""
    from matplotlib.font_manager import findSystemFonts

    paths = [path for path in findSystemFonts() if "lastresort" not in Path(path).stem.lower().replace(" ", "")]
    return sorted(paths, key=lambda path: ("Regular" not in Path(path).stem, path))


@cache  # looking through all fonts takes seconds
def _find_system_font(letters: str, size: float) -> FreeTypeFont | None:
    from PIL import ImageFont

    for path in list_system_fonts():
        try:
            font = ImageFont.truetype(path, size)
            if can_draw(font, letters):
                return font
        except (OSError, ValueError):  # a damaged font, or one of pictures
            continue
    return None
