"""Cross-validation in a report: each fold is a repeat, and the folds of a seed together test every image once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from headstart.report.study.answers import Answers, join_answers
from headstart.report.study.read import Run

CAVEAT = (
    "Folds are counted as repeats, but they share training images: intervals are narrower, and p values smaller, than "
    "those of independent repeats would be (Nadeau and Bengio 2003)."
)


def name_repeats(runs: Iterable[Run]) -> str:
    """What these runs are repeats over: `seed`, `fold`, or `repeat` where both change."""
    repeats = {run.repeat for run in runs}
    if all(repeat.fold < 0 for repeat in repeats):
        return "seed"
    return "fold" if len({repeat.seed for repeat in repeats}) == 1 else "repeat"


def by_seed(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs of each seed, by fold; each run alone without folds (rows never mix the two)."""
    ordered = sorted(runs, key=lambda run: run.repeat)
    found: dict[int, list[Run]] = defaultdict(list)
    for number, run in enumerate(ordered):
        found[number if run.repeat.fold < 0 else run.seed].append(run)
    return list(found.values())


def pool_answers(runs: Sequence[Run]) -> list[Answers] | None:
    """The answers of each seed, those of its folds one after the other; None where a run has no readable predictions
    or the seeds differ in their test images.
    """
    pooled = []
    for folds in by_seed(runs):
        answers = [run.answers for run in folds]
        known = [one for one in answers if one is not None]
        if len(known) < len(answers):
            return None
        pooled.append(join_answers(known))
    return pooled if len({one.images for one in pooled}) == 1 else None


def locate(place: int, folds: Sequence[Run]) -> tuple[Run, int]:
    """The run of a seed, and the row in it, of an image of its pooled test set."""
    for run in folds:
        assert run.answers is not None
        if place < len(run.answers.labels):
            return run, place
        place -= len(run.answers.labels)
    raise IndexError(place)
