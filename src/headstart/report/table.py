"""Print a comparison as a table for the terminal, at most as wide as it, and whole when piped."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from headstart.report.study.columns import BY_NAME
from headstart.report.study.groups import Comparison, Group, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN = ("accuracy", "balanced_accuracy", "nll", "ece", "seconds", "params_trainable", "gmacs")  # the metric is first
# Left out in this order where the width does not suffice, but for the metric; summary.csv and the page have them all.
SPARE = ("gmacs", "balanced_accuracy", "ece", "nll")


def best_rows(comparison: Comparison) -> set[int]:
    """The ids of the groups with the best score of their task."""
    return {id(row) for rows in comparison.tasks().values() for row in rows if row.merit == rows[0].merit}


def headings(comparison: Comparison) -> dict[str, str]:
    """The names that all rows share, for the title, by kind (model, data)."""
    shared = {kind: {getattr(group, kind) for group in comparison.groups} for kind in ("model", "data")}
    return {kind: next(iter(names)) for kind, names in shared.items() if len(names) == 1}


def names(comparison: Comparison, group: Group) -> dict[str, str]:
    """The cells that name a row, by column heading: what all rows share is left out, the strategy is always
    there.
    """
    shared = headings(comparison)
    cells = {} if "model" in shared else {"model": group.model}
    cells["strategy"] = group.strategy
    if "data" not in shared:
        cells["data"] = group.data
    return cells | {comparison.short(key): plain(group.keys[key]) for key in comparison.keys}


def task_ends(comparison: Comparison) -> set[int]:
    """The ids of the groups after which another task begins, if the rows of each task stand together."""
    task_of = {id(row): task for task, rows in comparison.tasks().items() for row in rows}
    pairs = list(itertools.pairwise(comparison.groups))
    ends = {id(row) for row, following in pairs if task_of[id(row)] != task_of[id(following)]}
    return ends if len(ends) == len(set(task_of.values())) - 1 else set()


def build(comparison: Comparison, columns: list[str], plus_minus: str = "±") -> Table:
    """The table with these number columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shared = headings(comparison)
    title = " · ".join([f"study {comparison.study.name}", *shared.values()])
    table = Table(title=Text(title), title_justify="left", title_style="", box=box.ROUNDED, pad_edge=True)
    for heading in names(comparison, comparison.groups[0]):
        table.add_column(Text(heading), overflow="fold")
    for heading in ("seeds", *(BY_NAME[name].title for name in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    best = best_rows(comparison)
    breaks = task_ends(comparison)
    for group in comparison.groups:
        bold = id(group) in best
        cells = [Text(cell) for cell in names(comparison, group).values()]
        numbers = [
            Text(BY_NAME[name].text(group, plus_minus), style="bold" if bold and name == group.metric.name else "")
            for name in columns
        ]
        table.add_row(*cells, Text(str(len(group.runs))), *numbers, end_section=id(group) in breaks)
    return table


def show(comparison: Comparison, console: Console) -> None:
    """Print the table, leaving out spare columns until it fits; piped output rather grows wider than folds a
    cell.
    """
    plus_minus = "±" if console.encoding.startswith("utf") else "+-"
    metric = comparison.metric.name
    wished = list(dict.fromkeys([metric, *SHOWN]))
    columns = list(wished)
    room = console.width
    for name in ("", *SPARE):
        columns = [column for column in columns if column != name or column == metric]
        table = build(comparison, columns, plus_minus)
        wanted = table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        if wanted <= room:
            break
    if not console.is_terminal:
        console.width = max(room, wanted)
    console.print(table)
    console.width = room
    hidden = [BY_NAME[name].title for name in wished if name not in columns]
    if hidden:
        console.print(f"Left out for want of width: {', '.join(hidden)}; the report has them.")
