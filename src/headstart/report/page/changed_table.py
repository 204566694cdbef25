"""The table of images that changed verdict between two rows."""

from headstart.report.sections import Cell, number, words
from headstart.report.stats.contrast import Contrast

HEADS = [
    ("image", "Its name in the test set.", False),
    ("class", "", False),
    ("right in first", "Seeds of the first row that got it right.", True),
    ("right in second", "Seeds of the second row that got it right.", True),
    ("first says", "The class that most seeds of the first row predict.", False),
    ("second says", "The class that most seeds of the second row predict.", False),
]


def list_changed(contrast: Contrast, places: list[int]) -> list[list[Cell]]:
    """The rows of these images, under `HEADS`."""
    found = contrast.verdicts
    assert found is not None
    classes, names = contrast.pair.one.runs[0].classes, found.names()
    rows = []
    for place in places:
        shares = [number(int(side[place]), f"{side[place]} of {found.seeds}") for side in (found.one, found.other)]
        said = [words(classes[side[place]]) for side in found.said]
        rows.append([words(names[place]), words(classes[found.labels[place]]), *shares, *said])
    return rows
