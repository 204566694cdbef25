"""The section on the mistakes that each row was most confident of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.report.charts.tables import Table
from headstart.report.page.gallery import Galleries, key_of
from headstart.report.page.pictures import Selection, choose_mistakes
from headstart.report.sections import Listing, Section, words
from headstart.report.stats.one_row import leading

if TYPE_CHECKING:
    from headstart.report.study.groups import Comparison

MOST_ROWS = 8
HEADS = [("image", "Its name in the test set.", False), ("what the row says", "", False)]


def mistakes_section(comparison: Comparison, galleries: Galleries | None) -> Section:
    """The most confident mistakes of the best rows: their pictures, and a table of their names for each row."""
    title = "Most confident mistakes"
    rows = leading(comparison)[:MOST_ROWS]
    table = Table(comparison)
    found = [
        (choose_mistakes(row, comparison.label(row), table.number(row)), f"mistakes-{place}")
        for place, row in enumerate(rows)
    ]
    known = [(selection, name) for selection, name in found if selection is not None]
    if not known:
        return Section(title, "No row made a mistake, or no predictions can be read.", [])
    few = len(comparison.groups) > len(rows)
    caption = (
        "The wrong answers that a row gave with the highest probability, each image once over its seeds: what a network"
        " is sure of and wrong about is often a wrong label, two things in one image, or a shortcut."
        + (f" The best {len(rows)} of {len(comparison.groups)} rows." if few else "")
    )
    drawn = [] if galleries is None else [galleries.draw(selection, name) for selection, name in known]
    pictured = galleries.embedded if galleries else set()
    bare = [one for one in known if not {key_of(each.run, each.row) for each in one[0].images} <= pictured]
    return Section(title, caption, [], tables=[_list(*one) for one in bare], galleries=list(filter(None, drawn)))


def _list(selection: Selection, name: str) -> Listing:
    rows = [[words(one.name), words(", ".join(one.caption))] for one in selection.images]
    about: dict[str, Any] = {"rows_of": selection.rows, "mark": "seeds"}
    return Listing(f"{name}-names", HEADS, rows, folded=f"{selection.title}, by name", **about)
