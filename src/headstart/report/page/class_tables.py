"""The page's tables of recall, precision and F1 of each class: of the rows that are looked into."""

from headstart.report.charts.tables import Table
from headstart.report.sections import Cell, Listing, number, words
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.one_row import ClassScores, score_classes
from headstart.report.stats.paired import Family
from headstart.report.study.columns import percent
from headstart.report.study.groups import Group, Stat

MOST_CLASSES, MOST_TABLES = 100, 8
HEADS = [
    ("class", "", False),
    ("images", "Test images of the class.", True),
    ("recall %", "Share of the class's test images that are predicted as it, mean over seeds.", True),
    ("precision %", "Share of the images predicted as the class that are of it; “-” where a seed predicts none.", True),
    ("F1 %", "The harmonic mean of recall and precision.", True),
]


def list_classes(table: Table, families: list[Family], contrasts: list[Contrast]) -> list[Listing]:
    """A folded table for each row of a contrast, of a task without one for its only row; the lowest F1 first."""
    compared = {contrast.task for contrast in contrasts}
    rows = [(contrast.task, row) for contrast in contrasts for row in (contrast.pair.one, contrast.pair.other)]
    rows += [(family.task, family.rows[0]) for family in families if family.task not in compared]
    tables: list[Listing] = []
    for task, row in {id(row): (task, row) for task, row in rows}.values():
        found = score_classes(row.runs)
        if found is not None and len(tables) < MOST_TABLES:
            title = f"{task}: {table.label(row)}" if len(families) > 1 else table.label(row)
            tables.append(_make_table(row, found, f"classes-{len(tables)}", title, table.number(row)))
    return tables


def _make_table(row: Group, found: ClassScores, name: str, title: str, number_: int) -> Listing:
    names = row.runs[0].classes
    stats = {label: found.over_seeds(label) for label in range(len(names)) if found.images[label]}
    order = sorted(stats, key=lambda label: (_mean(stats[label][2]), label))
    cells = [
        [words(names[label]), number(int(found.images[label]), f"{found.images[label]:,}"), *map(_cell, stats[label])]
        for label in order[:MOST_CLASSES]
    ]
    some = f", the lowest F1 of {len(order)} classes; per_class.csv has all" if len(order) > len(cells) else ""
    folded = f"{title}: recall, precision and F1 of {len(cells)} classes{some}"
    return Listing(name, HEADS, cells, folded=folded, ids=order[:MOST_CLASSES], rows_of=[number_], kind="classes")


def _mean(found: Stat | None) -> float:
    return 0.0 if found is None else found.mean


def _cell(found: Stat | None) -> Cell:
    return number(None, "") if found is None else number(found.mean, percent(found.mean))
