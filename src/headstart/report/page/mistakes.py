"""The mistakes that rows and single runs were most confident of: by name, with pictures where there are any."""

from collections import Counter
from typing import Any

from headstart.errors import UserError
from headstart.report.charts.tables import Table
from headstart.report.page.gallery import Galleries, first_line, key_of
from headstart.report.page.pictures import Selection, choose_mistakes, list_mistakes
from headstart.report.sections import Listing, Section, words
from headstart.report.stats.one_row import leading
from headstart.report.study.answers import read_names
from headstart.report.study.read import Run

MOST_ROWS, MOST_OF_RUN = 8, 12
MOST_PICTURES = 400  # besides those that stand in galleries; of more, the images that most runs are wrong about
HEADS = [("image", "Its name in the test set.", False), ("what the row says", "", False)]


def mistakes_section(table: Table, galleries: Galleries | None) -> Section:
    """The most confident mistakes of the best rows: their pictures, and a table of their names for each row."""
    title = "Most confident mistakes"
    comparison = table.comparison
    rows = leading(comparison)[:MOST_ROWS]
    found = [(choose_mistakes(row, table), f"mistakes-{place}") for place, row in enumerate(rows)]
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


class OwnMistakes:
    """Lists the mistakes of runs, then draws the images that they are about; without galleries there are names only."""

    def __init__(self, galleries: Galleries | None) -> None:
        self._galleries = galleries
        self._names: dict[str, list[str]] = {}
        self._wanted: Counter[str] = Counter()
        self._images: dict[str, tuple[Run, int]] = {}

    def of(self, run: Run) -> dict[str, Any]:
        """The mistakes that a run was most confident of: the image, what it said, and how sure in %."""
        answers = run.answers
        if answers is None:
            return {}
        if answers.images not in self._names:
            self._names[answers.images] = read_names([run.folder])
        found = []
        for mistake in list_mistakes([answers])[:MOST_OF_RUN]:
            key = key_of(run, mistake.place)
            self._wanted[key] += 1
            self._images.setdefault(key, (run, mistake.place))
            sure = None if mistake.confidence is None else round(100 * mistake.confidence)
            found.append([mistake.place, mistake.said, sure])
        return {"mistakes": found}

    def draw(self) -> dict[str, Any]:
        """By the images' keys: names, classes and links, and pictures that no gallery has; why some are missing."""
        shown: dict[str, list[Any]] = {}
        pictures: dict[str, list[Any]] = {}
        galleries, missing = self._galleries, ""
        for key, (run, row) in self._images.items():
            assert run.answers is not None
            shown[key] = [self._names[run.answers.images][row], int(run.answers.labels[row])]
            shown[key] += [galleries.link(run, row)] if galleries else []
        wanted = [key for key, _ in self._wanted.most_common() if galleries and key not in galleries.embedded]
        if len(wanted) > MOST_PICTURES:
            missing = f"the page has those of the {MOST_PICTURES} images that most runs are wrong about"
        for key in wanted[:MOST_PICTURES]:
            try:
                pictures[key] = galleries.picture(*self._images[key], shown[key][0]) if galleries else []
            except UserError as error:
                missing = first_line(error)
        return {"shown": shown, "pictures": pictures, "missing": missing}
