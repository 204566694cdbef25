"""Which pairs of rows are tested: each against the task's reference, or all; and Holm's correction over them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from headstart.errors import UserError, did_you_mean
from headstart.report.stats.paired import Family, Pair, add_test, find_excess, make_pair
from headstart.report.stats.worth import cheapest
from headstart.report.study.groups import Comparison, Group


def families(comparison: Comparison, reference: str | None = None, all_pairs: bool = False) -> list[Family]:
    """Test every task's rows against its reference, or all pairs of them.

    Args:
        reference: the row that others are tested against, by its name in the table; by default each task's cheapest
            row (the first where no row says what it took). A task without this row takes its cheapest.

    Raises:
        UserError: no row is called so, or two rows of a task are.
    """
    tasks = comparison.tasks()
    if reference is not None:
        if all_pairs:
            raise UserError("--reference and --all-pairs: give one of them; with all pairs there is no reference.")
        check_names(comparison, tasks, [reference], "--reference")
    return [
        _test(task, rows, None if all_pairs else _pick(comparison, rows, reference)) for task, rows in tasks.items()
    ]


def _pick(comparison: Comparison, rows: list[Group], reference: str | None) -> Group:
    named = [] if reference is None else rows_called(comparison, rows, reference)
    return named[0] if named else cheapest(rows) or rows[0]


def _test(task: str, rows: list[Group], reference: Group | None) -> Family:
    if reference is None:
        pairs = [make_pair(one, other) for one, other in combinations(rows, 2)]
    else:
        pairs = [make_pair(row, reference) for row in rows if row is not reference]
    excess = find_excess(pairs)
    tested = [add_test(pair, excess) for pair in pairs]
    return Family(task, rows, _correct(tested), reference, excess)


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for testing all of them (Holm 1979): the i-th smallest of m counts (m - i + 1) fold, never
    less than a smaller one, at most 1.
    """
    # ours, as scipy has no Holm correction (it has that of Benjamini and Hochberg), and statsmodels is no dependency
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def _correct(pairs: Sequence[Pair]) -> list[Pair]:
    adjusted = iter(holm([pair.test.p for pair in pairs if pair.test is not None]))
    return [pair if pair.test is None else replace(pair, adjusted=next(adjusted)) for pair in pairs]


def names_of(comparison: Comparison, row: Group) -> list[str]:
    """What a row may be called: its name within its task, and in full."""
    return [comparison.label(row, within_task=True), comparison.label(row)]


def rows_called(comparison: Comparison, rows: Sequence[Group], name: str) -> list[Group]:
    """The rows of this name; a strategy's name will do where only one row has it."""
    found = [row for row in rows if name in names_of(comparison, row)]
    return found or [row for row in rows if name == row.strategy]


def check_names(comparison: Comparison, tasks: dict[str, list[Group]], names: Sequence[str], option: str) -> None:
    """Refuse a name that no row has, or that two rows of a task share, with the nearest names."""
    for name in names:
        found = {task: rows_called(comparison, rows, name) for task, rows in tasks.items()}
        if not any(found.values()):
            every = [known for rows in tasks.values() for row in rows for known in names_of(comparison, row)]
            known = list(dict.fromkeys(every))
            hint = did_you_mean(name, known, " Did you mean {!r}?")
            raise UserError(f"{option}: no row is called {name!r}.{hint} Rows: {'; '.join(known)}.")
        for task, rows in found.items():
            if len(rows) > 1:
                raise UserError(
                    f"{option}: {name!r} names {len(rows)} rows of {task}:"
                    f" {'; '.join(comparison.label(row, within_task=True) for row in rows)}."
                )
