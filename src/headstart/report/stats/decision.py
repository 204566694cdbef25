"""Say in plain words which row to take and what shows it, and no more than is shown."""

from collections import Counter
from dataclasses import dataclass

from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.paired_test import ONE_SEED
from headstart.report.stats.phrases import evidence, points, price, score
from headstart.report.stats.rule import LEVEL
from headstart.report.stats.worth import cheaper, cheapest
from headstart.report.study.groups import Comparison, Group

# With two common seeds a t test has one degree of freedom: hardly anything is shown, so not showing says nothing.
DECIDES = 3
WEAK = 4


@dataclass(frozen=True)
class Decision:
    """Which row to take: one paragraph, and one line per task where there are several."""

    sentence: str
    tasks: list[str]


def decide(comparison: Comparison, families: list[Family]) -> Decision:
    """The decision over one task or several."""
    if len(families) == 1:
        return Decision(_paragraph(comparison, families[0]), [])
    lines = [f"{family.task}: {_line(comparison, family)}" for family in families]
    return Decision(_overall(comparison, families), lines)


def row_to_take(family: Family) -> Group:
    """The row to take: the best, or the cheapest of the clearly cheaper ones that it is not shown to be better than.

    "Not shown" is here by the test alone, not corrected: the correction guards against finding differences where
    there are none, and would make rows look alike that are far apart, the more rows a study has. Seeds that scatter
    show nothing either: so a row has to be near the best, too (within 2 points, or 0.05 nats), and no clearly cheaper
    row may be as good. Fewer than three common seeds decide nothing; rows that are equal in every seed need no test.
    """
    best = family.rows[0]
    pairs = [family.between(best, row) for row in family.rows[1:] if cheaper(row, best)]
    alike = [
        pair.other
        for pair in pairs
        if _equal(pair)
        or (
            pair.p is not None and pair.p > LEVEL and len(pair.runs) >= DECIDES and pair.gain <= pair.metric.near + 1e-9
        )
    ]
    return cheapest([row for row in alike if not _beaten(family, row)]) or best


def _equal(pair: Pair) -> bool:
    """Whether the rows have the same seeds, and the same score in each."""
    seeds = [{run.repeat for run in row.runs} for row in (pair.one, pair.other)]
    return pair.equal and seeds[0] == seeds[1] == set(pair.repeats)


def _beaten(family: Family, row: Group) -> bool:
    """Whether a clearly cheaper row is as good or better, over enough common seeds."""
    pairs = [family.between(other, row) for other in family.rows if other is not row and cheaper(other, row)]
    return any(_equal(pair) or (len(pair.runs) >= DECIDES and pair.gain >= 0) for pair in pairs)


def _paragraph(comparison: Comparison, family: Family) -> str:
    rows = family.rows
    if len(rows) == 1:
        name = comparison.label(rows[0], within_task=True)
        return f"{name} reaches {rows[0].metric.phrase} of {score(rows[0])}; there is no other row to compare it with."
    row = row_to_take(family)
    lead = _best(comparison, family) if row is rows[0] else _cheaper(comparison, family, row)
    return " ".join([*lead, *_pretraining(comparison, family)])


def _line(comparison: Comparison, family: Family) -> str:
    """A task's decision in one short sentence."""
    rows = family.rows
    names = [f"{comparison.label(row, within_task=True)} ({row.metric.text(row.score.mean)})" for row in rows]
    if len(rows) == 1:
        return f"{names[0]} is the only row."
    row = row_to_take(family)
    if row is rows[0]:
        pair = family.between(row, rows[1])
        lead = "take" if family.tested else f"by mean {row.metric.title} alone take"
        ahead = f"{points(pair, plus=True)} over {names[1]}"
        behind = f"though {points(pair.turned())} behind {names[1]} over common seeds"
        return f"{lead} {names[0]}, {ahead if pair.gain >= 0 else behind} ({evidence(pair, short=True)})."
    pair = family.between(rows[0], row)
    if _equal(pair):
        return (
            f"take {names[rows.index(row)]}; {names[0]} is as accurate in every {pair.noun} and takes"
            f" {price(pair).partition(' (')[0]}."
        )
    tested = f"{points(pair, plus=True)}, {evidence(pair, short=True).partition(': ')[2]}"
    return (
        f"take {names[rows.index(row)]}; {names[0]} is not shown to be better ({tested}) and takes"
        f" {price(pair).partition(' (')[0]}."
    )


def _best(comparison: Comparison, family: Family) -> list[str]:
    """Take the best row: what it gains over the next and over the cheapest."""
    best, following, least = family.rows[0], family.rows[1], cheapest(family.rows)
    name = comparison.label(best, within_task=True)
    title = best.metric.title
    if any(pair.test.basis != ONE_SEED for pair in family.tested if pair.test):
        lead = [f"Take {name}, the best by mean {title} ({score(best)})."]
    elif family.tested:
        only = f"with one common {family.pairs[0].noun} the test images alone are tested"
        lead = [f"By mean {title} alone take {name} ({score(best)}); {only}."]
    else:
        why = family.between(best, following).untested
        lead = [f"By mean {best.metric.title} alone take {name} ({score(best)}); with {why} nothing is tested."]
    place = "the next best and the cheapest" if following is least else "the next best"
    over = [_gain(comparison, family, family.between(best, following), place)]
    if least is not None and least is not best and least is not following:
        over.append(_gain(comparison, family, family.between(best, least), "the cheapest"))
    cheap = " It is also the cheapest." if least is best else ""
    return [*lead, f"It {'; and '.join(over)}.{cheap}"]


def _gain(comparison: Comparison, family: Family, pair: Pair, place: str) -> str:
    """What a row gains over another, or, where means are over different seeds, loses to it, and for what."""
    name = comparison.label(pair.other, within_task=True)
    cost = f", for {price(pair)}" if price(pair) else ""
    shown = f" ({evidence(pair)})" if family.tested else ""
    said = f"gains {points(pair)} over" if pair.gain >= 0 else f"loses {points(pair.turned())} in common seeds to"
    return f"{said} {name}, {place}{shown}{cost}"


def _cheaper(comparison: Comparison, family: Family, row: Group) -> list[str]:
    """Take a cheaper row than the best: the best is not shown to be better, and what it would cost."""
    best, least = family.rows[0], cheapest(family.rows)
    pair, metric = family.between(best, row), row.metric.title
    name, rival = (comparison.label(side, within_task=True) for side in (row, best))
    said = [
        f"Take {name} ({score(row)}): {rival} has the same {metric} in every {pair.noun}, and takes {price(pair)}."
        if _equal(pair)
        else f"Take {name} ({score(row)}): {rival} has the best mean {metric} ({score(best)}), but that it is better is"
        f" not shown ({points(pair, plus=True)}, {evidence(pair).split(': ')[1]}), and it takes {price(pair)}."
    ]
    if least is not None and least is not row:
        said.append(f"{name} {_gain(comparison, family, family.between(row, least), 'the cheapest')}.")
    return said


def pretraining(family: Family) -> list[Pair]:
    """The best pretrained row of each model over its best from-scratch row, the best pretrained row first."""
    found = []
    for model in dict.fromkeys(row.model for row in family.rows):
        scratch = next((row for row in family.rows if row.model == model and row.from_scratch), None)
        started = next((row for row in family.rows if row.model == model and not row.from_scratch), None)
        if scratch and started:
            found.append(family.between(started, scratch))
    return found


def _pretraining(comparison: Comparison, family: Family) -> list[str]:
    if not (found := pretraining(family)):
        return []
    first = found[0]
    names = " over ".join(comparison.label(side, within_task=True) for side in (first.one, first.other))
    verb, size = ("gains", first) if first.gain >= 0 else ("loses", first.turned())
    others = f"; over {len(found)} models {_span(found)}" if len(found) > 1 else ""
    return [f"Pretraining {verb} {points(size)} ({names}; {evidence(first)}{others})."]


def _span(pairs: list[Pair]) -> str:
    values, metric = [pair.gain for pair in pairs], pairs[0].metric
    return f"{metric.number(min(values), '+')} to {metric.number(max(values), '+')} {metric.unit}"


def _overall(comparison: Comparison, families: list[Family]) -> str:
    picks = Counter(comparison.label(row_to_take(family), within_task=True) for family in families).most_common()
    shown = ", ".join(f"{name} on {count}" for name, count in picks[1:4])
    more = f", {len(picks) - 4} others on the rest" if len(picks) > 4 else ""
    parts = [f"Take {picks[0][0]} on {picks[0][1]} of {len(families)} tasks{', ' + shown if shown else ''}{more}."]
    clear = sum(_leads_clearly(family) for family in families)
    rival = "every row that is compared with it" if families[0].reference is None else "the reference"
    parts.append(f"On {clear} of {len(families)} the best row is shown to be better than {rival}.")
    found = [pair for family in families for pair in pretraining(family)]
    if found:
        parts.append(f"Pretraining changes {found[0].metric.title} by {_span(found)} over scratch.")
    return " ".join(parts)


def _leads_clearly(family: Family) -> bool:
    """Whether the best row is shown to be better than the reference; of all pairs, than every other row."""
    best = family.rows[0]
    rivals = family.rows[1:] if family.reference is None else [family.reference]
    return bool(rivals) and best is not family.reference and all(family.between(best, row).shown for row in rivals)


def tests_in_short(comparison: Comparison, families: list[Family]) -> list[str]:
    """What is tested, how many of it is shown, and how weak the tests are: at most three lines."""
    pairs = [pair for family in families for pair in family.pairs]
    if not pairs:
        return []
    tested = [pair for family in families for pair in family.tested]
    if not tested:
        return [f"No differences are tested: that takes two rows with a common {pairs[0].noun} and their predictions."]
    shown = sum(pair.shown for pair in tested)
    rest = f", {len(pairs) - len(tested)} not tested" if len(pairs) > len(tested) else ""
    corrected = "over them" if len(families) == 1 else "within each task"
    lines = [
        f"Tested: {describe_family(comparison, families)}, Holm's correction {corrected}: {shown} of {len(tested)}"
        f" differences shown{rest}."
    ]
    fewest = min(len(pair.runs) for pair in tested)
    if fewest == 1:
        lines.append(
            "Where there is one common seed, McNemar's exact test compares these two trainings alone: other seeds may"
            " differ."
        )
    elif fewest <= WEAK and shown < len(tested):
        lines.append(f'With {fewest} common {tested[0].noun}s the test is weak: "not shown" is not "no difference".')
    return lines


def describe_family(comparison: Comparison, families: list[Family]) -> str:
    """Which pairs are tested, in words."""
    if families[0].reference is None:
        return "all pairs of rows"
    names = {comparison.label(family.reference, within_task=True) for family in families if family.reference}
    if len(names) > 1:
        return "each row against its task's reference"
    return f"each row against {names.pop()}"
