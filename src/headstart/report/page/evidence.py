"""The page's sections on what is shown: the paired tests of rows, and the settings that were chosen before them."""

from itertools import permutations

from headstart.report.charts.grids import draw_pairs
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import shorten
from headstart.report.page.findings import Findings
from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.report.stats.decision import describe_family
from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.phrases import p_value, points
from headstart.report.stats.settings import Choice
from headstart.report.stats.settle import describe_question
from headstart.report.study.groups import Group
from headstart.report.study.metric import Metric

MOST_PAIRS, MOST_OPEN = 60, 10
MATRIX_FROM, MOST_ROWS, HALF_PAGE = 5, 24, 9

PAIR_HEADS = [
    ("row", "", False),
    ("against", "", False),
    ("seeds", "Seeds that both rows have, tested on the same images.", True),
    ("points", "Difference of the means over the common seeds ± half-width of its 95 % interval.", True),
    ("p of seeds", "Two-sided p value of the paired t test over seeds, these test images taken as given.", True),
    ("p of images", "Two-sided p value of the paired bootstrap of images, these trainings taken as given.", True),
    ("p", "Both counted together, by itself; for one seed McNemar’s exact test.", True),
    ("adjusted p", "After Holm’s correction for all tests of the task.", True),
    ("verdict", "Shown: the adjusted p value is at most 0.05.", False),
    ("right alone", "Images that only the first row got right, pooled over seeds.", True),
    ("there alone", "Images that only the second row got right, pooled over seeds.", True),
]


def paired_section(findings: Findings, *, drawn: bool) -> Section:
    """The pairs of rows that are tested, and what would settle those that are not shown."""
    table, families, comparison = findings.table, findings.families, findings.comparison
    pictures = plot_pairs(table, families) if drawn else []
    tested = [pair for family in families for pair in family.tested]
    sizes = _span(sorted({len(family.tested) for family in families if family.tested}))
    seeds = sorted({len(pair.runs) for pair in tested})
    folds = any(run.repeat.fold >= 0 for run in comparison.study.runs)
    if not any(family.pairs for family in families):
        return Section("What is shown", "There is one row only, so there is nothing to compare.", [])
    caption = (
        f"Tested is {describe_family(comparison, families)}, over the seeds that both have, with Holm’s correction over"
        " these tests of a task"
        + (f" (family size {sizes}; {_span(seeds)} common seeds). " if tested else ". ")
        + "Two kinds of chance stand side by side: another training (a paired t test over seeds), and other test images"
        " (a paired bootstrap, which draws an image with all of its seeds). What is shown is decided on both together:"
        " the variance of the mean difference is that over images plus what seeds add to it. "
        + (
            "The folds of a seed test every image once, so that the t test over folds holds both, and decides."
            if folds
            else "One seed says nothing of other trainings: there McNemar’s exact test compares the two that there are."
        )
    )
    if not tested:
        caption += " Nothing is tested here: that takes two rows with a common seed and their predictions."
    elif min(seeds) <= 4:
        caption += (
            f" With {min(seeds)} common seed{'s' if min(seeds) > 1 else ''} only differences that are large beside"
            " their spread are shown: “not shown” does not mean “no difference”."
        )
    if not comparison.metric.over_images:
        caption += f" {comparison.metric.title} is no mean over images, so seeds alone are tested, by the t test."
    if pictures:
        caption += " In the squares, coloured and bold differences are shown; pale ones are not."
    lines = [" ".join([describe_question(comparison, one), *one.commands]) for one in findings.open[:MOST_OPEN]]
    rest = len(findings.open) - len(lines)
    lines += [f"{rest} more differences are open; decision.json has all."] if rest else []
    tables = _pair_tables(table, families)
    return Section("What is shown", caption, pictures, small=True, points=lines, tables=tables)


def plot_pairs(table: Table, families: list[Family]) -> list[Plot]:
    """Each row against each other, where all pairs are tested."""
    found, metric = [], table.comparison.metric
    for place, family in enumerate(families, start=1):
        if family.reference is not None or len(family.rows) < MATRIX_FROM:
            continue
        rows = family.rows[:MOST_ROWS]
        names = [shorten(table.label(row), 40) for row in rows]
        cells = []
        for (a, one), (b, other) in permutations(zip(names, rows, strict=True), 2):
            pair = family.between(one, other)
            numbers = {"one": table.number(one), "other": table.number(other)}
            difference = {"gain": pair.gain, "text": metric.number(pair.gain, "+"), "shown": pair.shown}
            cells.append({"row": a, "column": b, **numbers, **difference})
        few = f", the best {MOST_ROWS} of {len(family.rows)} rows" if len(family.rows) > MOST_ROWS else ""
        one_task = f"{metric.unit.capitalize()} of {metric.title}, row less column"
        title = family.task if len(families) > 1 else one_task
        chart, wide = draw_pairs(cells, names, metric.unit), len(family.rows) > HALF_PAGE
        alt = f"Differences between rows, {title}"
        found.append(Plot(f"pairs-{place:02d}", [chart], alt, f"{title}{few}.", wide, kind="pairs"))
    return found


def head_in_unit(heads: list[tuple[str, str, bool]], metric: Metric) -> list[tuple[str, str, bool]]:
    """Headings and their explanations with the metric's unit of differences in place of points."""
    unit = metric.unit
    return [
        (head.replace("points", unit), note.replace("Points", unit.capitalize()), numeric)
        for head, note, numeric in heads
    ]


def _span(values: list[int]) -> str:
    return " to ".join(str(value) for value in dict.fromkeys(values[:1] + values[-1:]))


def _pair_tables(table: Table, families: list[Family]) -> list[Listing]:
    made = []
    for place, family in enumerate(families):
        if not family.pairs:
            continue
        shown = family.pairs[:MOST_PAIRS]
        title = f"{family.task}: " if len(families) > 1 else ""
        every = len(shown) == len(family.pairs)
        count = f"all {len(shown)} pairs" if every else f"{len(shown)} of {len(family.pairs)} pairs; pairs.csv has all"
        folded = f"{title}{count}" if len(families) > 1 or len(shown) > MOST_OPEN else ""
        about = [[table.number(side) for side in (pair.one, pair.other)] for pair in shown]
        heads, rows = head_in_unit(PAIR_HEADS, table.comparison.metric), [_pair_row(table, pair) for pair in shown]
        made.append(Listing(f"pairs-{place}", heads, rows, folded=folded, about=about, mark="study"))
    return made


def _pair_row(table: Table, pair: Pair) -> list[Cell]:
    test, (here, there) = pair.test, pair.alone or (None, None)
    images = None if test is None or test.images is None else test.images.p
    verdict = "shown" if pair.shown else "not shown" if test is not None else f"not tested: {pair.untested}"
    p_values = (None if test is None else test.p_seeds, images, pair.p, pair.adjusted)
    return [
        *(make_row_cell(table, side) for side in (pair.one, pair.other)),
        number(len(pair.runs)),
        make_points_cell(pair),
        *(number(p, lambda p: p_value(p).removeprefix("= ")) for p in p_values),
        words(verdict),
        number(here, "{:,}".format),
        number(there, "{:,}".format),
    ]


def make_points_cell(pair: Pair) -> Cell:
    """A pair's difference without its unit, which the heading has."""
    return number(pair.gain, lambda _: points(pair, plus=True).removesuffix(f" {pair.metric.unit}"))


def make_row_cell(table: Table, group: Group) -> Cell:
    """A row's name beside its mark."""
    return words(table.label(group), (table.palette.colour(group), table.palette.shape(group)))


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
    comparison, tables = table.comparison, []
    for place, choice in enumerate(choices):
        rows = [
            [
                words(comparison.label(row)),
                words("chosen" if row is choice.chosen else "not compared"),
                *(number(value, comparison.metric.text) for value in (score, row.score.mean)),
                number(len(row.runs)),
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
