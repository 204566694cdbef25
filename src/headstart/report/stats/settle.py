"""What is open: differences that are tested and not shown, how many seeds would settle them, and the command for it."""

import math
import shlex
from dataclasses import dataclass
from typing import Any

from headstart.report.stats.decision import row_to_take
from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.paired_test import NO_SPREAD, Sample
from headstart.report.stats.phrases import points
from headstart.report.stats.rule import LEVEL, combine, excess_of_seeds, least_excess
from headstart.report.study.groups import Comparison, Group

POWER = 0.8
MOST_SEEDS, MANY_SEEDS, LEAST_SEEDS = 50, 10, 3
LARGER = (1.5, 2, 3, 4, 5, 7, 10, 15, 20)  # test sets, by how much
LEFT_OUT = ("seed", "data.fold")  # each repeat has its own
MOST_LISTED = 5  # seeds; more that follow one another are written as a range


@dataclass(frozen=True)
class Enough:
    """What would show the observed difference in 4 of 5 repeats, if it is the true one.

    So many `seeds`, and, where `MOST_SEEDS` are not enough on the test images that there are, so many test `images`;
    both None where 10 seeds and 20 times the test images are not enough either.
    """

    seeds: int | None
    images: int | None = None


def seeds_that_settle(sample: Sample, tests: int = 1, typical: float = 0.0) -> Enough | None:
    """How many seeds would show a difference; None where there is none to show, or its spread is not known.

    Args:
        tests: the size of the family: the difference has to pass Holm's correction as its smallest p value.
        typical: the excess of seeds of the family, as in the test.
    """
    gain = abs(sample.gain)
    if not sample.repeats or gain < NO_SPREAD or (sample.scores is None and not sample.variance().over_seeds):
        return None
    for seeds in range(max(LEAST_SEEDS, sample.repeats + 1), MOST_SEEDS + 1):
        if gain >= _detectable(sample, seeds, tests, typical):
            return Enough(seeds)
    if sample.scores is not None and not sample.folds:
        many = max(sample.repeats, MANY_SEEDS)
        for times in LARGER:
            if gain >= _detectable(sample, many, tests, typical, times):
                return Enough(many, math.ceil(times * sample.n_images))
    return Enough(None)


def _detectable(sample: Sample, seeds: int, tests: int, typical: float, times: float = 1.0) -> float:
    """The difference that so many seeds, and `times` the test images, show with `POWER`."""
    from scipy.special import stdtrit

    parts, had = sample.variance(), max(sample.repeats, 1)
    if sample.scores is None or sample.folds:
        variance, freedom = parts.over_seeds * had / seeds, float(seeds - 1)
    else:
        excess = max(float(excess_of_seeds(parts)), typical) * had / seeds
        if sample.repeats == 1:  # one seed says nothing of how far seeds scatter
            excess = sample.least_spread**2 / seeds
        of_images = max(parts.over_images - parts.both, 0.0) + parts.both * had / seeds
        excess = max(excess, float(least_excess(seeds, sample.least_spread)))
        found = combine(excess, of_images / times, seeds, sample.n_images * times)
        variance, freedom = float(found[0]), float(min(found[1], 1e9))
    passes = stdtrit(freedom, 1 - LEVEL / tests / 2) + stdtrit(freedom, POWER)
    return float(passes * math.sqrt(variance))


@dataclass(frozen=True)
class Question:
    """A difference that is not shown, what would settle it, and the commands that would run it (none if not known)."""

    task: str
    pair: Pair
    enough: Enough
    commands: list[str]


def open_questions(families: list[Family]) -> list[Question]:
    """The tested pairs that are not shown and differ, the fewest seeds first."""
    found = []
    for family in families:
        for pair in family.tested:
            if pair.shown or pair.sample is None:
                continue
            enough = seeds_that_settle(pair.sample, len(family.tested), family.excess)
            if enough is not None:
                found.append(Question(family.task, pair, enough, _commands(pair, enough)))
    return sorted(found, key=lambda one: (one.enough.images or 0, one.enough.seeds or math.inf))


def describe_question(comparison: Comparison, question: Question) -> str:
    """What would settle a difference, in words, without the command."""
    pair, enough = question.pair, question.enough
    names = " and ".join(comparison.label(side, within_task=True) for side in (pair.one, pair.other))
    task = f"{question.task}: " if len(comparison.tasks()) > 1 else ""
    lead = f"{task}{names} ({points(pair, plus=True)}, not shown)"
    if enough.seeds is None and (pair.sample is None or pair.sample.scores is None or pair.sample.folds):
        return f"{lead}: even {MOST_SEEDS} {pair.noun}s would not settle so small a difference."
    if enough.seeds is None:
        more = f"{LARGER[-1]:g} times the test images (with {MANY_SEEDS} seeds)"
        return f"{lead}: neither {MOST_SEEDS} seeds nor {more} would settle so small a difference."
    if enough.images:
        return (
            f"{lead}: more seeds alone would not settle it on these {pair.sample.n_images if pair.sample else 0:,} test"
            f" images; {enough.seeds} seeds and about {enough.images:,} test images would."
        )
    return f"{lead}: about {enough.seeds} {pair.noun}s would settle it, if this is the true difference."


def _commands(pair: Pair, enough: Enough) -> list[str]:
    """Run what both rows lack of so many seeds; none where overrides cannot be read, or test images are lacking."""
    if enough.seeds is None or enough.images:
        return []
    sides = [_overrides(side) for side in (pair.one, pair.other)]
    one, other = sides
    if one is None or other is None:
        return []
    folds = sorted({repeat.fold for repeat in pair.repeats if repeat.fold >= 0})
    wanted = math.ceil(enough.seeds / max(1, len(folds)))
    had = {repeat.seed for repeat in pair.repeats}
    new = [seed for seed in range(wanted + len(had)) if seed not in had][: max(0, wanted - len(had))]
    more = [f"seed={write_seeds(new)}"]
    if folds:
        more.append(f"data.fold={','.join(map(str, folds))}")
    joined = _join(one, other)
    return [shlex.join(["headstart", "train", "-m", *words, *more]) for words in ([joined] if joined else [one, other])]


def write_seeds(seeds: list[int]) -> str:
    """The seeds as Hydra sweeps them; many successive ones as a range, whose end is left out."""
    if len(seeds) > MOST_LISTED and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"range({seeds[0]},{seeds[-1] + 1})"
    return ",".join(map(str, seeds))


def _overrides(row: Group) -> list[str] | None:
    """The overrides of a row's first run, less those that tell its repeats apart."""
    found = row.runs[0].overrides
    return None if found is None else [word for word in found if _key(word) not in LEFT_OUT]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _join(one: list[str], other: list[str]) -> list[str] | None:
    """Both rows' overrides as one sweep, if they differ in the value of one key; else None."""
    if [_key(word) for word in one] != [_key(word) for word in other]:
        return None
    changed = [place for place, words in enumerate(zip(one, other, strict=True)) if words[0] != words[1]]
    if len(changed) != 1:
        return None
    (place,) = changed
    return [*one[:place], f"{one[place]},{other[place].partition('=')[2]}", *one[place + 1 :]]


def record_question(comparison: Comparison, question: Question) -> dict[str, Any]:
    """A question as plain values."""
    pair, enough = question.pair, question.enough
    row, against = (comparison.label(side, within_task=True) for side in (pair.one, pair.other))
    found = {"task": question.task, "row": row, "against": against, "difference": pair.gain, "seeds": enough.seeds}
    return {**found, "test_images": enough.images, "commands": question.commands}


def questions_in_short(comparison: Comparison, families: list[Family], questions: list[Question]) -> list[str]:
    """The open question about the row to take (else the one that is settled first), and its commands, line by line."""
    if not questions:
        return []
    taken = {id(row) for family in families for row in (family.rows[0], row_to_take(family))}
    about = [one for one in questions if {id(one.pair.one), id(one.pair.other)} & taken]
    first = (about or questions)[0]
    rest = len(questions) - 1
    more = f" ({rest} more open question{'s' if rest > 1 else ''} in the report)" if rest else ""
    return [f"Open: {describe_question(comparison, first)}{more}", *first.commands]
