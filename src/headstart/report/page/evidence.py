"""The page's sections on what is shown and what it costs: paired tests, gains per cost, the best row per budget."""

from collections.abc import Sequence
from typing import Any

from headstart.report.charts.tables import Table
from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.report.stats.decision import describe_family
from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.phrases import p_value, points
from headstart.report.stats.settle import Question, describe_question
from headstart.report.stats.worth import (
    BUDGETS,
    SECONDS,
    Step,
    advice,
    along_frontier,
    cheaper,
    cheapest,
    over_cheapest,
)
from headstart.report.study.columns import duration, macs
from headstart.report.study.groups import Comparison, Group
from headstart.report.study.metric import Metric

MOST_PAIRS, MOST_OPEN = 60, 10

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


def paired_section(
    table: Table, families: list[Family], questions: list[Question], pictures: Sequence[Plot]
) -> Section:
    """The pairs of rows that are tested, and what would settle those that are not shown."""
    comparison = table.comparison
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
    return Section(
        "What is shown",
        caption,
        pictures,
        small=True,
        points=_open(comparison, questions),
        tables=_pair_tables(table, families),
    )


def _open(comparison: Comparison, found: list[Question]) -> list[str]:
    """What would settle the differences that are not shown, with the command for it."""
    lines = [" ".join([describe_question(comparison, one), *one.commands]) for one in found[:MOST_OPEN]]
    rest = len(found) - len(lines)
    return [*lines, f"{rest} more differences are open; decision.json has all."] if rest else lines


def _in_unit(heads: list[tuple[str, str, bool]], metric: Metric) -> list[tuple[str, str, bool]]:
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
        heads, rows = _in_unit(PAIR_HEADS, table.comparison.metric), [_pair_row(table, pair) for pair in shown]
        made.append(Listing(f"pairs-{place}", heads, rows, folded=folded, about=about, mark="study"))
    return made


def _pair_row(table: Table, pair: Pair) -> list[Cell]:
    names = [_row_cell(table, side) for side in (pair.one, pair.other)]
    test, (here, there) = pair.test, pair.alone or (None, None)
    images = None if test is None or test.images is None else test.images.p
    verdict = "shown" if pair.shown else "not shown" if test is not None else f"not tested: {pair.untested}"
    p_values = (None if test is None else test.p_seeds, images, pair.p, pair.adjusted)
    return [
        *names,
        number(len(pair.runs), str(len(pair.runs))),
        number(pair.gain, points(pair, plus=True).removesuffix(f" {pair.metric.unit}")),
        *(number(p, "" if p is None else p_value(p).removeprefix("= ")) for p in p_values),
        words(verdict),
        number(here, f"{here:,}" if here is not None else ""),
        number(there, f"{there:,}" if there is not None else ""),
    ]


def _row_cell(table: Table, group: Group) -> Cell:
    return words(table.label(group), (table.palette.colour(group), table.palette.shape(group)))


WORTH_HEADS = [
    ("row", "", False),
    ("over", "", False),
    ("points", "Gained over the other row ± half-width of the paired difference's 95 % interval.", True),
    ("verdict", "Whether the paired test shows the difference.", False),
    ("extra time", "Seconds with a cold cache, difference of means.", True),
    ("points per minute", "Points gained per extra minute; “-” where that is within 10 %, or nothing gained.", True),
    ("extra MACs", "Multiply-adds of training, difference of means.", True),
    (
        "points per TMAC",
        "Points gained per extra 10¹² multiply-adds; “-” where no more of them are spent, or nothing gained.",
        True,
    ),
]


def worth_section(table: Table, families: list[Family]) -> Section:
    """What more accuracy costs: against the cheapest row, and from one row of the frontier to the next."""
    tables, metric = [], table.comparison.metric
    for place, family in enumerate(families):
        title = f"{family.task}: " if len(families) > 1 else ""
        reference = cheapest(family.rows)
        if reference is None or len(family.rows) < 2:
            continue
        name = table.label(reference)
        kinds = {
            f"{title}every row against {name}, the cheapest": over_cheapest(family),
            f"{title}one step at a time: each row of the frontier against the one before it": along_frontier(family),
        }
        for kind, (words_, steps) in enumerate(kinds.items()):
            same = kind == 1 and [s.pair.other for s in steps] == [reference] * len(steps)
            if steps and not same:
                rows = [_worth_row(table, found) for found in steps]
                about = [[table.number(side) for side in (found.pair.one, found.pair.other)] for found in steps]
                where: dict[str, Any] = (
                    {"folded": words_} if len(families) > 1 or len(rows) > MOST_OPEN else {"title": words_}
                )
                heads = _in_unit(WORTH_HEADS, metric)
                tables.append(Listing(f"worth-{place}-{kind}", heads, rows, about=about, mark="study", **where))
    if not tables:
        return Section("Is it worth it?", "That takes two rows whose time or multiply-adds are known.", [])
    caption = (
        f"{metric.unit.capitalize()} of test {metric.title} beside what they cost more; where the test does not show a"
        f" gain, {metric.unit} per minute and per TMAC are no finding either. The multiply-adds are those of training"
        " and validation, with the backward pass of the whole network as twice the forward pass; a backward pass"
        " through a part of it is not recorded, and ≥, ≤ or ~ mark where that leaves one side, the other or both too"
        " low."
    )
    return Section("Is it worth it?", caption, [], tables=tables)


def _worth_row(table: Table, found: Step) -> list[Cell]:
    pair = found.pair
    verdict = "shown" if pair.shown else "not shown" if pair.planned else "not tested"
    dearer = pair.gain > 0 and cheaper(pair.other, pair.one)
    minute = None if found.per_second is None or not dearer else 60 * pair.metric.scale * found.per_second
    tera = None if found.per_gmac is None or pair.gain <= 0 else 1000 * pair.metric.scale * found.per_gmac
    return [
        *[_row_cell(table, side) for side in (pair.one, pair.other)],
        number(pair.gain, points(pair, plus=True).removesuffix(f" {pair.metric.unit}")),
        words(verdict),
        number(found.seconds, _with_sign(found.seconds, duration)),
        number(minute, "" if minute is None else _short(minute)),
        number(found.gmacs, found.mark + _with_sign(found.gmacs, macs)),
        number(tera, "" if tera is None else f"{'~ ' if found.mark else ''}{_short(tera)}"),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _with_sign(value: float | None, write: Any) -> str:
    return "" if value is None else ("+" if value > 0 else "-" if value < 0 else "") + write(abs(value))


def budget_points(comparison: Comparison, families: list[Family]) -> list[str]:
    """Which row to take for which limit: a sentence per cost, or, of several tasks, one on each task's time."""
    if len(families) == 1:
        return list(filter(None, (advice(comparison, families[0], budget) for budget in BUDGETS)))
    return [f"{family.task}. {text}" for family in families if (text := advice(comparison, family, SECONDS))]
