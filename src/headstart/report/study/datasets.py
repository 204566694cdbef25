"""Tell runs apart that were made on other images under one name: they are no repeats of one another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.report.study.groups import natural, plain
from headstart.report.study.read import Run, Study
from headstart.report.study.varying import is_task_key, split_by

SHORTEST = 4  # digits of a digest


def tell_apart(study: Study) -> Study:
    """The study whose runs say which data they were made on, where one name and cut stand for several."""
    named: dict[Path, str] = {}
    for runs in split_by(study.runs, lambda run: (run.data, _cut_of(run))):
        contents = _find_contents(runs)
        known = sorted({content for content in contents if content})
        if len(known) > 1:
            digits = next(n for n in range(SHORTEST, 99) if len({content[:n] for content in known}) == len(known))
            named |= {run.folder: content[:digits] or "unknown" for run, content in zip(runs, contents, strict=True)}
    told = [replace(run, content=named[run.folder]) if run.folder in named else run for run in study.runs]
    return replace(study, runs=told)


def _cut_of(run: Run) -> tuple[Any, ...]:
    """Where the images come from and how they are cut, but for the seed and the fold."""
    return tuple(sorted((key, plain(value)) for key, value in (run.config or {}).items() if is_task_key(key)))


def _find_contents(runs: list[Run]) -> list[str]:
    """What each run's data hold: `digests.content`, the same for every seed and fold; empty where nobody knows.

    An older run has none. Without folds, its test images are the same for every seed: it belongs to a run that was
    tested on images of the same names and labels, or to others without a digest that were.
    """
    known = [str((run.result.get("digests") or {}).get("content") or "") for run in runs]
    if all(known):
        return known
    folds = any(run.repeat.fold >= 0 for run in runs)
    images = ["" if folds or run.answers is None else run.answers.images for run in runs]
    found = []
    for content, image in zip(known, images, strict=True):
        same = {other for other, name in zip(known, images, strict=True) if other and name == image}
        found.append(content or (next(iter(same)) if len(same) == 1 else image))
    return found


def describe_contents(runs: list[Run]) -> list[str]:
    """A sentence for each name of data that stands for several: which runs were made on which."""
    told = [run for run in runs if run.content]
    sentences = []
    for own in split_by(told, lambda run: (str(run.result["data"]),)):
        parts = sorted(split_by(own, lambda run: (run.data,)), key=lambda part: natural(part[0].data))
        said = ", ".join(f"{part[0].data} in {_count(part)}" for part in parts)
        sentences.append(
            f"{own[0].result['data']} is the name of different images, by their content: {said}. They are rows of their"
            " own, never repeats of one another."
        )
    return sentences


def _count(runs: list[Run]) -> str:
    repeats = ", ".join(str(repeat) for repeat in sorted({run.repeat for run in runs}))
    tested = runs[0].number("n_test")
    images = "" if tested is None else f", {tested:,.0f} test images"
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} (seed {repeats}{images})"
