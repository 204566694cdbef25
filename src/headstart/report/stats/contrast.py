"""Which two rows of a task are looked at class by class and image by image."""

from dataclasses import dataclass
from functools import cached_property

from headstart.errors import UserError
from headstart.report.stats.changed import Verdicts, verdicts
from headstart.report.stats.classes import ClassChange, changes
from headstart.report.stats.families import check_names, rows_called
from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.worth import cheapest
from headstart.report.study.groups import Comparison


@dataclass(frozen=True)
class Contrast:
    """Two rows of a task that are looked into."""

    task: str
    pair: Pair

    @cached_property
    def classes(self) -> list[ClassChange]:
        """Each class's recall in both; empty where predictions cannot be read."""
        return changes(self.pair)

    @cached_property
    def verdicts(self) -> Verdicts | None:
        """Both rows' verdicts on each test image; None where predictions cannot be read."""
        return verdicts(self.pair)


def contrasts(comparison: Comparison, families: list[Family], between: tuple[str, str] | None = None) -> list[Contrast]:
    """What to look into: of each task the best row against the next best and against the cheapest.

    Args:
        between: two rows by label instead, in every task that has both.

    Raises:
        UserError: a label that no row has, one that two rows share, or two labels that no task has both of.
    """
    if between is not None:
        return _find_named(comparison, families, between)
    found = []
    for family in families:
        if len(family.rows) < 2:
            continue
        best, following, least = family.rows[0], family.rows[1], cheapest(family.rows)
        found.append(Contrast(family.task, family.between(best, following)))
        if least is not None and least is not best and least is not following:
            found.append(Contrast(family.task, family.between(best, least)))
    return found


def _find_named(comparison: Comparison, families: list[Family], between: tuple[str, str]) -> list[Contrast]:
    check_names(comparison, {family.task: family.rows for family in families}, between, "--between")
    found = []
    for family in families:
        one, other = (rows_called(comparison, family.rows, name) for name in between)
        if one and other and one[0] is not other[0]:
            found.append(Contrast(family.task, family.between(one[0], other[0])))
    if not found:
        raise UserError(f"--between: {between[0]!r} and {between[1]!r} are not two rows of one task.")
    return found
