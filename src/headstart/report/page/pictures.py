"""Which test images the page shows: those that changed verdict, and the most confident mistakes of a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.config.words import count
from headstart.report.charts.tables import Table
from headstart.report.stats.contrast import Contrast
from headstart.report.study.answers import Answers, read_names
from headstart.report.study.folds import by_seed, locate, pool_answers
from headstart.report.study.groups import Group
from headstart.report.study.read import Run

MOST = 16  # images of two rows, and mistakes of one
RIGHT, WRONG = "✓", "✗"


@dataclass(frozen=True)
class Shown:
    """A test image and what is said of it.

    Attributes:
        run: whose test set it is from.
        row: its place there, which is its row in predictions.csv.
        name: in predictions.csv.
        caption: lines below the picture.
        alt: what the picture shows, for those who do not see it.
        explained: for each map of it, the run whose network is asked, and the class that the map explains.
    """

    run: Run
    row: int
    name: str
    caption: tuple[str, ...]
    alt: str
    explained: tuple[tuple[Run, int], ...]


@dataclass(frozen=True)
class Selection:
    """Images that are shown together.

    Attributes:
        title: what they are, of how many.
        maps: what each of an image's maps explains.
        rows: the numbers of the rows that answered.
    """

    title: str
    images: list[Shown]
    maps: tuple[str, ...]
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the image's place in the pooled test set, the seed by its number, and of how many seeds."""

    place: int
    seed: int
    said: int
    confidence: float | None
    wrong: int


def choose_changed(contrast: Contrast, table: Table, title: str) -> Selection | None:
    """The images whose verdicts differ most between two rows, in the order of `Verdicts.order`.

    The maps are of the first common seed's networks; None where no image changed or predictions cannot be read.
    """
    found = contrast.verdicts
    order = [] if found is None else found.order()
    if found is None or not order:
        return None
    rows, pairs = (contrast.pair.one, contrast.pair.other), contrast.pair.runs
    folds = by_seed(first for first, _ in pairs)[0]
    beside = {id(first): second for first, second in pairs}
    classes, names, seeds = contrast.pair.one.runs[0].classes, found.names(), found.seeds
    answers = [pool_answers([runs[side] for runs in pairs]) or [] for side in (0, 1)]
    shown = []
    for place in order[:MOST]:
        run, row = locate(place, folds)
        truth, caption, told = classes[found.labels[place]], [], []
        said = [int(side[place]) for side in found.said]
        sides = zip(("first", "second"), map(table.label, rows), (found.one, found.other), strict=True)
        for side, (word, label, right) in enumerate(sides):
            name, share = classes[said[side]], _percent(_mean_confidence(answers[side], place, said[side]))
            mark = RIGHT if said[side] == found.labels[place] else WRONG
            caption.append(f"{word} {mark} {name}{share}")
            often = f", right in {right[place]} of {seeds} seeds" if seeds > 1 else ""
            told.append(f"{label} says {name}{share}{often}")
        alt = f"{names[place]}, of class {truth}: {'; '.join(told)}"
        networks = ((run, said[0]), (beside[id(run)], said[1]))
        shown.append(Shown(run, row, names[place], (f"is {truth}", *caption), alt, networks))
    few = f"the {MOST} that changed most, of {len(order):,}" if len(order) > MOST else f"all {len(order)} that changed"
    numbers = tuple(map(table.number, rows))
    return Selection(f"{title}: {few}", shown, ("where the first looks", "where the second looks"), numbers)


def choose_mistakes(group: Group, table: Table) -> Selection | None:
    """The wrong answers of a row that it was most confident of, each image once, over all seeds.

    Without confidences, those that most seeds got wrong. The maps are of the network that made the mistake. None where
    no predictions can be read or nothing is wrong.
    """
    label, seeds = table.comparison.label(group), by_seed(group.runs)
    pooled = pool_answers(group.runs)
    if pooled is None:  # seeds with other test images, or a run without predictions: the first seed alone
        seeds = seeds[:1]
        pooled = pool_answers(seeds[0])
    mistakes = list_mistakes(pooled or [])
    if not mistakes:
        return None
    assert pooled is not None
    names = read_names(run.folder for run in seeds[0])
    classes, shown = seeds[0][0].classes, []
    for found in mistakes[:MOST]:
        run, row = locate(found.place, seeds[0])
        wrong_run = locate(found.place, seeds[found.seed])[0]
        label_ = int(pooled[0].labels[found.place])
        truth, said, share = classes[label_], classes[found.said], _percent(found.confidence)
        often = (f"wrong in {found.wrong} of {len(seeds)} seeds",) if len(seeds) > 1 else ()
        alt = f"{names[found.place]}, of class {truth}: {label} says {said}{share}"
        alt += "".join(f", {words}" for words in often)
        caption = (f"is {truth}", f"says {said}{share}", *often)
        networks = ((wrong_run, found.said), (wrong_run, label_))
        shown.append(Shown(run, row, names[found.place], caption, alt, networks))
    first = "most confident" if pooled[0].confidence is not None else "first"
    few = (
        f"the {MOST} {first} of {len(mistakes):,} mistakes" if len(mistakes) > MOST else count(len(mistakes), "mistake")
    )
    maps = ("what speaks for its answer", "what speaks for the true class")
    return Selection(f"{label}: {few}", shown, maps, (table.number(group),))


def list_mistakes(answers: Sequence[Answers]) -> list[Mistake]:
    """The images that a seed got wrong, each with its most confident wrong answer; the most confident first.

    Args:
        answers: of each seed, on the same images.
    """
    best: dict[int, tuple[float, int]] = {}
    counts: dict[int, int] = {}
    for seed, one in enumerate(answers):
        for place in (~one.right).nonzero()[0].tolist():
            sure = -1.0 if one.confidence is None else float(one.confidence[place])
            counts[place] = counts.get(place, 0) + 1
            if place not in best or sure > best[place][0]:
                best[place] = (sure, seed)
    order = sorted(best, key=lambda place: (-best[place][0], -counts[place], place))
    found = []
    for place in order:
        sure, seed = best[place]
        said = int(answers[seed].predicted[place])
        found.append(Mistake(place, seed, said, None if sure < 0 else sure, counts[place]))
    return found


def _mean_confidence(answers: Sequence[Answers], place: int, said: int) -> float | None:
    """How sure the seeds are that say this class of an image, on average; None without probabilities."""
    sure = [
        float(one.confidence[place]) for one in answers if one.confidence is not None and one.predicted[place] == said
    ]
    return sum(sure) / len(sure) if sure else None


def _percent(confidence: float | None) -> str:
    """A confidence after the class that it is of: ` (97 %)`; empty where it is not known."""
    return "" if confidence is None else f" ({100 * confidence:.0f} %)"
