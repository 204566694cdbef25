"""Which column of a table says to which part each image belongs, by the authors of the table."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from headstart.data.filenames import escape_name
from headstart.data.part_names import find_part
from headstart.data.table_text import show_key
from headstart.errors import UserError

log = logging.getLogger(__name__)

# Names that columns with an official split have; is_train and its like too.
NAMES = re.compile(
    r"([a-z]+[ _-])?(split|subset|set|fold|partition)s?([ _-]?(id|nr|no|number|name|idx|index))?"
    r"|(is|in|for)[ _-]?(train(ing)?|val(id|idation)?|test(ing)?)([ _-]?(set|img|image))?",
    re.IGNORECASE,
)
SHOWN = 6


def choose_split_column(header: Sequence[str], columns: Sequence[set[str]], path: str, used: set[int]) -> int | None:
    """Find the column with the parts where the user has named none; None if the parts have to be cut.

    Any column counts that names train and another part, and no other text; so does one that is called split or alike.

    Args:
        columns: the different cells of each column.
        used: the columns that contain something else.

    Raises:
        UserError: a column looks like an official split, but not all of its cells name a part; or several do.
    """
    certain, doubtful = [], []
    for place, cells in enumerate(columns):
        if place in used or not header[place]:
            continue
        parts = {find_part(cell) for cell in cells}
        named = bool(NAMES.fullmatch(header[place]))
        if None not in parts and (named or {"train"} < parts):
            certain.append(place)
        elif named or len(parts - {None}) > 1:
            doubtful.append(place)
    if len(certain) > 1:
        names = " and ".join(f"'{escape_name(header[place])}'" for place in certain)
        raise UserError(
            f"{path}: the columns {names} both name train, val or test; say which is the split, such as "
            f"{show_key('split', header[certain[0]])}"
        )
    if certain:
        log.info("%s: the parts are those of the column '%s'", path, escape_name(header[certain[0]]))
        return certain[0]
    if doubtful:
        raise UserError(_ask(header[doubtful[0]], columns[doubtful[0]], path))
    return None


def _ask(name: str, cells: set[str], path: str) -> str:
    shown = ", ".join(f"'{escape_name(cell)}'" for cell in sorted(cells)[:SHOWN]) + ", …" * (len(cells) > SHOWN)
    return (
        f"{path}: the column '{escape_name(name)}' looks like an official split, but not all of its cells are train, "
        f"val or test (found: {shown}). To use it, write train, val or test into each row; to cut the parts without "
        f"regard to it: data.source.split=null{_advise_folds(cells)}"
    )


def _advise_folds(cells: set[str]) -> str:
    return ", and for cross-validation data.folds=5 data.fold=0" if all(cell.isdecimal() for cell in cells) else ""


def read_part(cell: str, where: str) -> str:
    """The part that a cell of the split column names, else UserError."""
    part = find_part(cell)
    if part is None:
        raise UserError(
            f"{where}: split '{escape_name(cell)}' is unknown; use train, val or test. To cut new parts without regard "
            f"to this column: data.source.split=null{_advise_folds({cell})}"
        )
    return part
