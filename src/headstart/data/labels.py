"""Label cells of a table that are no class: missing values, and several labels of one image."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence

from headstart.data.filenames import escape_name
from headstart.errors import UserError

log = logging.getLogger(__name__)

MISSING = ("nan", "<na>", "nat", "#n/a")  # how pandas, numpy and Excel write a value that is missing
UNSURE = ("na", "n/a", "null", "none")  # missing too, or a class: Namibia, no defect
LIST = re.compile(r"[|;]|^[\[{].*[\]}]$")  # a cell with this is a list
BETWEEN = re.compile(r"[\s,+&/|;]+")  # what may stand between several labels, or within the name of one

Cell = tuple[str, str]  # where it stands, and its text


def check_labels(cells: Sequence[Cell], column: str, origin: str) -> None:
    """Refuse label cells that are missing values, or that name several classes.

    Raises:
        UserError: names the first such cell.
    """
    first: dict[str, str] = {}
    for where, text in cells:
        first.setdefault(text, where)
    for text, where in first.items():
        if text.lower() in MISSING:
            raise UserError(
                f"{where}: the label '{text}' in column '{column}' is how programs write a missing value; "
                "leave the row out, or give the class another name"
            )
    unsure = [f"'{text}'" for text in first if text.lower() in UNSURE]
    if unsure:
        log.warning("%s: %s is a class, not a missing value", origin, ", ".join(unsure))
    for text in find_several(first):
        raise UserError(
            f"{first[text]}: the label '{escape_name(text)}' in column '{column}' looks like several labels; one label "
            "per image is needed. If it is the name of one class, join its words with _"
        )


def find_several(labels: Iterable[str]) -> Iterator[str]:
    """Find labels that look like several.

    Lists do (`dog|bird`). Words with blanks or commas between them can be the name of one class (`golden retriever`);
    they look like several labels if each word is a label of its own too, or if cells of two, three and more words
    combine so few words that there are twice as many different cells as words.
    """
    different = list(dict.fromkeys(labels))
    alone = set(different)
    words = {label: [word for word in BETWEEN.split(label) if word] for label in different}
    combined = [label for label in different if len(words[label]) > 1]
    lengths = {len(words[label]) for label in different}
    used = {word for label in different for word in words[label]}
    few = 2 * len(used) < len(different) and len(lengths) > 2
    for label in combined:
        if LIST.search(label) or few or alone.issuperset(words[label]):
            yield label
