"""Numbers of a comparison in words: an accuracy, a difference, what shows it, and its price."""

from headstart.report.stats.paired import Pair
from headstart.report.stats.paired_test import ONE_SEED, OVER_IMAGES
from headstart.report.stats.rule import LEVEL
from headstart.report.stats.worth import GMACS, SECONDS, Budget
from headstart.report.study.columns import duration, macs
from headstart.report.study.folds import name_repeats
from headstart.report.study.groups import Group


def score(group: Group) -> str:
    """A row's mean in words: `83.5 % ± 1.2, 3 seeds`."""
    found, noun, metric = group.score, name_repeats(group.runs), group.metric
    if found.interval is None:
        return f"{metric.text(found.mean)}, 1 {noun}"
    return f"{metric.text(found.mean)} ± {metric.number(found.interval)}, {found.n} {noun}s"


def points(pair: Pair, plus: bool = False) -> str:
    """A pair's difference in points: `8.6 ± 2.1 points`, with its sign if asked for or negative."""
    metric = pair.metric
    width = "" if pair.half is None else f" ± {metric.number(pair.half)}"
    return f"{metric.number(pair.gain, '+' if plus else '')}{width} {metric.unit}"


def p_value(value: float) -> str:
    """A p value with its sign of relation: `= 0.012`, `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"= {value:.2g}" if value < 0.1 else f"= {value:.2f}"


def evidence(pair: Pair, short: bool = False) -> str:
    """What shows a difference: `shown: adjusted p = 0.012, 3 common seeds`; the short form ends before the seeds."""
    if pair.p is None:
        return f"not tested: {pair.untested}"
    alone = f"p {p_value(pair.p)}"
    seeds = "" if short else f", {_describe_basis(pair)}"
    if pair.adjusted is None:
        return f"not among the planned tests: {alone} by itself{seeds}"
    adjusted = f"adjusted p {p_value(pair.adjusted)}"
    if not pair.shown and pair.p <= LEVEL:
        return f"not shown after correction: {alone}, {adjusted}{seeds}"
    return f"{'shown' if pair.shown else 'not shown'}: {adjusted}{seeds}"


def _describe_basis(pair: Pair) -> str:
    if pair.test is not None and pair.test.basis == ONE_SEED:
        return f"of the test images alone, as there is one common {pair.noun}"
    seeds = f"{len(pair.runs)} common {pair.noun}s"
    if pair.test is not None and pair.test.basis == OVER_IMAGES:
        return f"{seeds} with the same difference"
    return seeds


def price(pair: Pair) -> str:
    """What the first row costs beside the second: `12 times the time (17.9 s against 1.5 s)`; empty if unknown."""
    sides: list[tuple[Budget, str]] = [(SECONDS, "time"), (GMACS, "multiply-adds")]
    for budget, name in sides:
        a, b = budget.of(pair.one), budget.of(pair.other)
        if not a or not b:
            continue
        write, ratio = duration if budget is SECONDS else macs, a / b
        if 0.9 <= ratio <= 1.1:
            return f"about the same {name}"
        times = f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.2g}"
        return f"{times} times the {name} ({write(a)} against {write(b)})"
    return ""
