"""Groups of images that belong together, such as those of one patient: no group stands in two parts.

`headstart.data.balance` chooses the groups of a part, so that the part is stratified as far as its groups allow.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.config.words import count
from headstart.data.balance import choose_groups, count_classes
from headstart.data.filenames import escape_name, list_names
from headstart.data.ranks import rank_keys
from headstart.data.source import Source, Split
from headstart.errors import UserError

log = logging.getLogger(__name__)

COLUMNS = re.compile(  # names of columns whose values stand for something that has several images
    r"(patient|subject|person|participant|individual|animal|donor|case|specimen|slide|plate|scene|video|site|farm|plot"
    r"|group)s?([ _-]?(id|nr|no|number|name))?",
    re.IGNORECASE,
)
PATTERN = "regex:"  # data.group=regex:… is a pattern on paths; anything else is the name of a table's column


def is_pattern(group: str) -> bool:
    """Whether `data.group` is a pattern on paths, and not the name of a column."""
    return group.startswith(PATTERN)


def find_groups(split: Split, group: str) -> list[str]:
    """The group of each image of a split, as `data.group` says.

    Raises:
        UserError: the source has no such groups, or the pattern does not fit every path.
    """
    if not is_pattern(group):
        if split.groups is None:
            way_out = f"take the group from the images' paths by a pattern: 'data.group=\"{PATTERN}PATTERN\"'"
            advice = way_out if split.relative_paths() is not None else "leave it out"
            raise UserError(
                f"data.group={group}: names the column of a table, and this data source reads none; {advice}"
            )
        return list(split.groups)
    paths = split.relative_paths()
    if paths is None:
        raise UserError(f"data.group={group}: is a pattern on paths, and these images are no files: leave it out")
    pattern = re.compile(group.removeprefix(PATTERN))
    found = [pattern.search(path) for path in paths]
    lost = [path for path, match in zip(paths, found, strict=True) if match is None]
    if lost:
        raise UserError(
            f"data.group={group}: does not fit {len(lost)} of {len(paths)} paths (below the folder of the data), such "
            f"as {escape_name(lost[0])}: change the pattern so that it fits all of them"
        )
    matches = [match for match in found if match is not None]
    return ["/".join(part or "" for part in match.groups() or (match[0],)) for match in matches]


def mention_groups(origin: str, columns: Iterable[str], read: Callable[[str], Sequence[object]]) -> None:
    """Say that images of a table belong together, where a column's name and values show it.

    `read` reads a column; one cell an image.
    """
    for name in filter(COLUMNS.fullmatch, columns):
        cells = read(name)
        if 1 < len(different := set(cells)) < len(cells):
            log.warning(
                "%s: column '%s' repeats (%d values, %d images): data.group=%s keeps the images of one %s in one part",
                *(origin, name, len(different), len(cells), name, name),
            )


def raise_if_shared(source: Source, group: str) -> None:
    """Raise UserError if the parts of a source's authors share groups."""
    parts = {name: split for name in ("train", "val", "test") if (split := getattr(source, name)) is not None}
    groups = {name: set(find_groups(split, group)) for name, split in parts.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(groups.get(one, set()) & groups.get(other, set()))
        if both:
            raise UserError(
                f"data.group={group}: {count(len(both), 'group')} in both {one} and {other} of the data: "
                f"{list_names(both, 5)}; mend the data's own parts, or give all images without them so that they are "
                "cut by group"
            )


@dataclass(frozen=True)
class Grouped:
    """The groups of a split's images: `numbers` int64 [n], the group of each row, an index into `names`."""

    setting: str  # what data.group says
    names: list[str]
    numbers: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, split: Split, group: str) -> Grouped:
        """The groups of a split."""
        names, numbers = np.unique(np.array(find_groups(split, group), dtype=object), return_inverse=True)
        return cls(group, names.tolist(), numbers, split.labels)

    def count(self, rows: np.ndarray) -> int:
        """How many groups these rows have."""
        return len(np.unique(self.numbers[rows]))

    def raise_if_few(self, rows: np.ndarray, classes: Sequence[str], needed: int, what: str) -> None:
        """Raise UserError if a class has fewer groups than parts have to be cut."""
        pairs = np.unique(np.stack([self.numbers[rows], self.labels[rows]]), axis=1)
        counts = np.bincount(pairs[1], minlength=len(classes))
        if counts.min() < needed:
            poor = classes[int(counts.argmin())]
            raise UserError(
                f"data.group={self.setting}: the images of class '{poor}' are of {count(int(counts.min()), 'group')}; "
                f"{needed} are needed {what}, because no group may stand in two parts"
            )

    def take_share(self, rows: np.ndarray, fraction: float, left: int, seed: int, stream: int) -> np.ndarray:
        """The rows, ascending, of whole groups that hold about `fraction` of each class among `rows`.

        Of each class at least `left` groups are not taken.
        """
        numbers, labels = self.numbers[rows], self.labels[rows]
        inside = np.unique(numbers)
        ranks = rank_keys([self.names[i].encode("utf-8", "surrogateescape") for i in inside], seed, stream)
        ordered = inside[np.argsort(ranks, kind="stable")]
        taken = choose_groups(count_classes(numbers, labels, ordered), fraction, left)
        return rows[np.isin(numbers, ordered[taken])]

    def take_fold(self, rows: np.ndarray, folds: int, fold: int, seed: int, stream: int) -> np.ndarray:
        """The rows of one of `folds` parts of whole groups: each fold takes its share of what those before it left."""
        for before in range(fold + 1):
            if before == folds - 1:
                return rows
            taken = self.take_share(rows, 1 / (folds - before), folds - before - 1, seed, stream)
            rows = taken if before == fold else np.setdiff1d(rows, taken)
        return rows
