"""Letters that the plots' own font lacks: other fonts of the machine draw them, so that no plot shows a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.tracking.fonts import find_bundled_font, list_system_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_families: dict[str, str] = {}  # by letter; '' for one that no font has


def draw_all_letters(figure: Figure) -> None:
    """Let a figure's texts use fonts that have all of their letters; one that no font has is written as its number."""
    from matplotlib.text import Text

    texts = [artist for artist in figure.findobj() if isinstance(artist, Text)]
    found = _find_families("".join(text.get_text() for text in texts))
    if not found:
        return
    numbers = str.maketrans({letter: ascii(letter)[1:-1] for letter, family in found.items() if not family})
    families = sorted({family for family in found.values() if family})
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *families])
        text.set_text(text.get_text().translate(numbers))
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)] if numbers else []:
        names = [label.get_text() for label in axis.get_ticklabels()]
        if any(name.translate(numbers) != name for name in names):
            axis.set_ticklabels([name.translate(numbers) for name in names])  # else drawing sets the old ones again


def name_classes(classes: Sequence[str]) -> list[str]:
    """The names of classes, with `class N` (its place, from 0) for each that no font can draw."""
    found = _find_families("".join(classes))
    return [
        name if all(found.get(letter, "-") for letter in name) else f"class {at}" for at, name in enumerate(classes)
    ]


def _find_families(text: str) -> dict[str, str]:
    """For each letter of a text that DejaVu Sans lacks, the family of a font of the machine that has it, or ''."""
    from matplotlib.ft2font import FT2Font

    own = FT2Font(str(find_bundled_font()))
    lacking = {letter for letter in text if not letter.isspace() and not own.get_char_index(ord(letter))}
    _look_up({letter for letter in lacking if letter not in _families})
    return {letter: _families[letter] for letter in lacking}


def _look_up(letters: set[str]) -> None:
    """Look through the fonts of the machine, once for all of these letters: a font takes a millisecond."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    _families.update(dict.fromkeys(letters, ""))
    for path in list_system_fonts() if letters else []:
        try:
            font = FT2Font(path)
        except (OSError, RuntimeError):  # a damaged font
            continue
        drawn = {letter for letter in letters if font.scalable and font.get_char_index(ord(letter))}
        if drawn:
            fontManager.addfont(path)  # its list may be older than the font
            _families.update(dict.fromkeys(drawn, font.family_name))
            letters = letters - drawn
