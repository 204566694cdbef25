"""The table of images that changed verdict between two rows."""

from typing import Any

from headstart.report.charts.tables import Table
from headstart.report.page.gallery import Galleries
from headstart.report.sections import Cell, Listing, number, words
from headstart.report.stats.contrast import Contrast
from headstart.report.study.folds import by_seed, locate

HEADS = [
    ("image", "Its name in the test set.", False),
    ("class", "", False),
    ("right in first", "Seeds of the first row that got it right.", True),
    ("right in second", "Seeds of the second row that got it right.", True),
    ("first says", "The class that most seeds of the first row predict.", False),
    ("second says", "The class that most seeds of the second row predict.", False),
]


def list_changed(
    table: Table, contrast: Contrast, name: str, places: list[int], galleries: Galleries | None, **where: Any
) -> Listing:
    """The table of these images; their names are links where galleries find their files."""
    found = contrast.verdicts
    assert found is not None
    classes, names = contrast.pair.one.runs[0].classes, found.names()
    rows, facts, first = [], [], by_seed(one for one, _ in contrast.pair.runs)[0]
    for place in places:
        shares = [number(int(side[place]), f"{side[place]} of {found.seeds}") for side in (found.one, found.other)]
        said = [words(classes[side[place]]) for side in found.said]
        href = galleries.link(*locate(place, first)) if galleries else ""
        rows.append([Cell(names[place], names[place], href=href), words(classes[found.labels[place]]), *shares, *said])
        facts.append({"label": int(found.labels[place]), "seeds": _list_answers(table, contrast, place)})
    about = [table.number(side) for side in (contrast.pair.one, contrast.pair.other)]
    return Listing(name, HEADS, rows, rows_of=about, facts=facts, kind="changed", mark="seeds", **where)


def _list_answers(table: Table, contrast: Contrast, place: int) -> list[list[int]]:
    """Of each seed the numbers of both runs, and the classes that they say of an image."""
    beside = {id(one): other for one, other in contrast.pair.runs}
    found = []
    for folds in by_seed(one for one, _ in contrast.pair.runs):
        run, row = locate(place, folds)
        both = (run, beside[id(run)])
        said = [int(one.answers.predicted[row]) for one in both if one.answers is not None]
        found.append([*map(table.place, both), *said])
    return found
