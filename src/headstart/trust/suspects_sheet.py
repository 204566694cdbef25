"""A sheet of the images whose labels are doubted, each with its own name, label and suggestion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.data.contact_sheet import make_thumbnail
from headstart.data.decode import silence_pillow
from headstart.data.filenames import escape_name
from headstart.visualize.sheet import Cell, draw_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from headstart.data.dataset import Data
    from headstart.trust.images import Place
    from headstart.trust.suspects import Suspect

MOST, COLUMNS = 48, 6


def draw_suspects(data: Data, places: Sequence[Place], suspects: Sequence[Suspect]) -> Image:
    """Draw the first suspects, with what they are labelled, what is suggested, and the end of their names."""
    with silence_pillow():
        cells = [_make_cell(data, places[each.row], each) for each in suspects[:MOST]]
    rows = [("", cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    note = f"{min(MOST, len(suspects))} of {len(suspects):,}, the least credible label first; all are in suspects.csv"
    return draw_sheet("Probable label errors", note, rows)


def _make_cell(data: Data, place: Place, suspect: Suspect) -> Cell:
    label, other = (escape_name(data.classes[at]) for at in (suspect.label, suspect.suggested))
    image, _ = make_thumbnail(data, place.part, place.row)
    return Cell(
        image,
        (
            f"{label} {100 * suspect.label_probability:.1f} %",
            f"rather {other} {100 * suspect.suggested_probability:.1f} %",
            _shorten_start(escape_name(place.name)),
        ),
    )


def _shorten_start(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
