"""The page's sections on two rows: their recall class by class, and the images that changed verdict between them."""

from typing import Any

from headstart.report.charts.classes import draw_classes
from headstart.report.charts.grids import draw_verdicts
from headstart.report.charts.tables import Table
from headstart.report.charts.theme import Looks, percent_limits, shorten
from headstart.report.page.findings import Findings
from headstart.report.page.gallery import Galleries
from headstart.report.page.pictures import choose_changed
from headstart.report.page.single_rows import name_file
from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.report.stats.contrast import ALL_SHOWN, Contrast, most_changed
from headstart.report.stats.one_row import ClassScores, score_classes
from headstart.report.stats.paired import Family, Pair
from headstart.report.study.columns import percent
from headstart.report.study.folds import by_seed, locate
from headstart.report.study.groups import Group
from headstart.tracking.confusion import count_pairs

MOST_IMAGES, MOST_CONTRASTS, MOST_CLASSES, MOST_TABLES = 16, 8, 100, 8
NOTHING = "There are no two rows with readable predictions of the same test images."
CLASS_HEADS = [
    ("class", "", False),
    ("images", "Test images of the class.", True),
    ("recall %", "Share of the class's test images that are predicted as it, mean over seeds.", True),
    ("precision %", "Share of the images predicted as the class that are of it; “-” where a seed predicts none.", True),
    ("F1 %", "The harmonic mean of recall and precision.", True),
]
IMAGE_HEADS = [
    ("image", "Its name in the test set.", False),
    ("class", "", False),
    ("right in first", "Seeds of the first row that got it right.", True),
    ("right in second", "Seeds of the second row that got it right.", True),
    ("first says", "The class that most seeds of the first row predict.", False),
    ("second says", "The class that most seeds of the second row predict.", False),
]


def classes_section(findings: Findings, *, drawn: bool) -> Section:
    """Recall class by class: charts of two rows, and a table of each row that is looked into."""
    title, table = "Class by class", findings.table
    tables = list_classes(table, findings.families, findings.contrasts)
    known = [contrast for contrast in findings.contrasts if contrast.classes]
    if not known:
        return Section(title, NOTHING, [], tables=tables)
    plots = [
        plot_classes(table, contrast, place, findings.describe(contrast))
        for place, contrast in enumerate(findings.contrasts[:MOST_CONTRASTS], start=1)
        if contrast.classes and drawn
    ]
    points = [f"{findings.describe(one)}. {_classes_in_words(one)}" for one in known[len(plots) :]]
    caption = (
        "Recall is the share of a class’s test images that were found, as the mean over the common seeds; beside it"
        " stands the paired difference with its 95 % interval, bold where that is clear of 0. Each class is looked at"
        " by itself: of 20 classes one lies clear of 0 by chance, and of many classes the most changed ones are partly"
        " chance. Of more than 24 classes those are drawn; per_class.csv and class_differences.csv have all."
    )
    return Section(title, caption, plots, points=points, tables=tables)


def _classes_in_words(contrast: Contrast) -> str:
    found = contrast.classes
    up = sum(change.difference.mean > 0 for change in found)
    down = sum(change.difference.mean < 0 for change in found)
    top = max(found, key=lambda change: abs(change.difference.mean))
    return (
        f"Recall is higher in {up} of {len(found)} classes and lower in {down}; the largest change is"
        f" {100 * top.difference.mean:+.0f} points ({top.name}, {top.images} test images)."
    )


def plot_classes(table: Table, contrast: Contrast, place: int, name: str) -> Plot:
    """Recall class by class of two rows."""
    shown, pair = most_changed(contrast.classes), contrast.pair
    changes: list[dict[str, Any]] = []
    for change in shown:
        mean, half = 100 * change.difference.mean, change.difference.interval
        text = f"{mean:+.0f}" + ("" if half is None else f" ± {100 * half:.0f}")
        clear = half is not None and abs(mean) > 100 * half
        recalls = {"class": change.name, "one": 100 * change.one, "other": 100 * change.other}
        changes.append(recalls | {"text": text, "clear": clear, "images": change.images})
    drawn = [change.label for change in shown]
    by_seed_ = [score_classes([runs[side] for runs in pair.runs]) for side in (0, 1)]
    spread = [100 * float(value) for side in by_seed_ if side for value in side.recall[:, drawn].ravel()]
    own = [table.palette.shape(side) for side in (pair.one, pair.other)]
    shapes = own if own[0] != own[1] else ["circle", "square"]
    looks = Looks(_two_labels(table, pair), table.palette.two(pair.one, pair.other), shapes)
    chart = draw_classes(changes, looks, percent_limits(spread))  # room for each subset of seeds
    caption, every = f"{name}. {_classes_in_words(contrast)}", len(contrast.classes)
    caption += f" The {ALL_SHOWN} most changed of {every} classes." if every > len(shown) else ""
    file, alt = name_file("classes", place, name), f"Recall by class, {name}"
    return Plot(file, [chart], alt, caption, kind="classes", labels=drawn, **_about(table, pair))


def _two_labels(table: Table, pair: Pair) -> list[str]:
    labels = [table.label(side) for side in (pair.one, pair.other)]
    return labels if labels[0] != labels[1] else [f"{label} ({place})" for place, label in enumerate(labels, 1)]


def _about(table: Table, pair: Pair) -> dict[str, Any]:
    """What a plot of two rows is about: their numbers in the page, and those of their runs, two and two."""
    pairs = [[table.place(one), table.place(other)] for one, other in pair.runs]
    return {"rows": [table.number(pair.one), table.number(pair.other)], "pairs": pairs}


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
            tables.append(_list_scores(row, found, f"classes-{len(tables)}", title, table.number(row)))
    return tables


def _list_scores(row: Group, found: ClassScores, name: str, title: str, place: int) -> Listing:
    names = row.runs[0].classes
    means = {
        label: [None if over is None else over.mean for over in found.over_seeds(label)]
        for label in range(len(names))
        if found.images[label]
    }
    order = sorted(means, key=lambda label: (means[label][2] or 0.0, label))
    cells = [
        [
            words(names[label]),
            number(int(found.images[label]), "{:,}".format),
            *(number(mean, percent) for mean in means[label]),
        ]
        for label in order[:MOST_CLASSES]
    ]
    some = f", the lowest F1 of {len(order)} classes; per_class.csv has all" if len(order) > len(cells) else ""
    folded = f"{title}: recall, precision and F1 of {len(cells)} classes{some}"
    return Listing(name, CLASS_HEADS, cells, folded=folded, ids=order[:MOST_CLASSES], rows_of=[place], kind="classes")


def changed_section(findings: Findings, galleries: Galleries | None) -> Section:
    """How many images changed verdict between two rows, and those that changed most; without galleries no pictures."""
    title, table = "Images that changed verdict", findings.table
    plots, tables, points, pictures = [], [], [], []
    for place, contrast in enumerate(findings.contrasts):
        found = contrast.verdicts
        if found is None:
            continue
        order, name = found.order(), findings.describe(contrast)
        won, lost = found.turned
        always = "" if found.seeds == 1 else f"; in all {found.seeds} seeds {won:,} and {lost:,}"
        points.append(
            f"{name}: of {len(found.labels):,} test images {found.gained:,} are gained and {found.lost:,} lost{always}."
        )
        if order:
            count = min(MOST_IMAGES, len(order))
            told = f"{name}: the {count} that changed most, of {len(order):,}"
            where: dict[str, Any] = {"title": told} if len(findings.contrasts) == 1 else {"folded": told}
            tables.append(_list_changed(table, contrast, f"changed-{place}", order[:count], galleries, **where))
        if galleries is not None and place < MOST_CONTRASTS:
            plots.append(plot_verdicts(table, contrast, place + 1, name))
            selection = choose_changed(contrast, table, name)
            pictures += [] if selection is None else [galleries.draw(selection, f"changed-pictures-{place}")]
    if not points:
        return Section(title, NOTHING, [])
    caption = (
        "An image is gained where more seeds of the first row get it right than of the second, and lost where fewer do;"
        " changed.csv lists every one."
    )
    if plots:
        caption += (
            " The squares count images by the seeds that got them right: gained ones lie above the grey diagonal."
        )
    drawn = list(filter(None, pictures))
    return Section(title, caption, plots, small=True, points=points, tables=tables, galleries=drawn)


def plot_verdicts(table: Table, contrast: Contrast, place: int, name: str) -> Plot:
    """Test images by how many seeds of two rows got them right."""
    found, pair = contrast.verdicts, contrast.pair
    assert found is not None
    counts = count_pairs(found.one, found.other, found.seeds + 1).tolist()
    one, other = (shorten(label, 40) for label in _two_labels(table, pair))
    chart = draw_verdicts(counts, (one, other), table.palette.two(pair.one, pair.other))
    file, alt = name_file("changed", place, name), f"Test images by verdict, {name}"
    return Plot(file, [chart], alt, f"{name}.", kind="verdicts", **_about(table, pair))


def _list_changed(
    table: Table, contrast: Contrast, name: str, places: list[int], galleries: Galleries | None, **where: Any
) -> Listing:
    """The table of these images; their names are links where galleries find their files."""
    found, pair = contrast.verdicts, contrast.pair
    assert found is not None
    classes, names, seeds = pair.one.runs[0].classes, found.names(), by_seed(one for one, _ in pair.runs)
    beside = {id(one): other for one, other in pair.runs}
    rows, facts = [], []
    for place in places:
        shares = [number(int(side[place]), f"{{}} of {found.seeds}".format) for side in (found.one, found.other)]
        said = [words(classes[side[place]]) for side in found.said]
        href = galleries.link(*locate(place, seeds[0])) if galleries else ""
        rows.append([Cell(names[place], names[place], href=href), words(classes[found.labels[place]]), *shares, *said])
        answers = []  # of each seed the numbers of both runs, and the classes that they say
        for folds in seeds:
            run, row = locate(place, folds)
            both = (run, beside[id(run)])
            told = [int(one.answers.predicted[row]) for one in both if one.answers is not None]
            answers.append([*map(table.place, both), *told])
        facts.append({"label": int(found.labels[place]), "seeds": answers})
    about = [table.number(side) for side in (pair.one, pair.other)]
    return Listing(name, IMAGE_HEADS, rows, rows_of=about, facts=facts, kind="changed", mark="seeds", **where)
