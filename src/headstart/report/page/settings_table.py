"""The page's section on what was chosen on validation."""

from headstart.report.charts.tables import Table
from headstart.report.sections import Listing, Section, number, words
from headstart.report.stats.settings import Choice

SETTINGS_HEADS = [
    ("row", "The settings; network, strategy and data are the same.", False),
    ("chosen", "The best mean validation score, of equal ones the lower NLL.", False),
    ("validation", "Mean over the seeds that all of them have.", True),
    ("test", "Mean over seeds; of a row that is not chosen it is not compared with anything.", True),
    ("seeds", "", True),
]


def settings_sections(table: Table, choices: list[Choice]) -> list[Section]:
    """What was chosen on validation, with the rows that are not compared folded; nothing where nothing was."""
    if not choices:
        return []
    comparison = table.comparison
    tables = []
    for place, choice in enumerate(choices):
        rows = [
            [
                words(comparison.label(row)),
                words("chosen" if row is choice.chosen else "not compared"),
                *(number(value, comparison.metric.text(value)) for value in (score, row.score.mean)),
                number(len(row.runs), str(len(row.runs))),
            ]
            for row, score in zip(choice.rows, choice.scores, strict=True)
        ]
        folded = f"{comparison.label(choice.chosen)}: {len(choice.rows)} settings"
        about = [table.number(choice.chosen)]
        tables.append(Listing(f"settings-{place}", SETTINGS_HEADS, rows, folded=folded, rows_of=about, mark="study"))
    caption = (
        "Rates, lengths and regularisations of one strategy are chosen by their validation scores, and only the chosen"
        " row is compared: the best of many test scores is a lucky one. Keep them apart with compare --keep KEY."
    )
    return [Section("Settings chosen on validation", caption, [], small=True, tables=tables)]
