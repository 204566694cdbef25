"""The report's sections in their order: what is shown, what it costs, then where the rows differ."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headstart.report import evidence
from headstart.report.calibration import draw_reliability, reliability
from headstart.report.changed_table import HEADS, list_changed
from headstart.report.class_tables import list_classes
from headstart.report.classes import draw_changes
from headstart.report.confusion import leading
from headstart.report.contrast import Contrast
from headstart.report.gallery import Galleries
from headstart.report.grids import MOST_ROWS, draw_pairs, draw_verdicts
from headstart.report.groups import Comparison
from headstart.report.mistakes import mistakes_section
from headstart.report.paired import Family
from headstart.report.pictures import choose_changed
from headstart.report.plots import accuracy_section, confusion_section, cost_pictures, curves_section, question_sections
from headstart.report.sections import Listing, Picture, Section
from headstart.report.settings import Choice, settings_sections
from headstart.report.style import Palette
from headstart.report.worth import BUDGETS
from headstart.tracking.plot_style import STYLE, draw_in

MATRIX_FROM, HALF_PAGE = 5, 9
MOST_IMAGES = 16
MOST_CONTRASTS = 8


@dataclass(frozen=True)
class Findings:
    """A comparison, its pairs by task, the pairs that are looked into, and the settings that were chosen before."""

    comparison: Comparison
    families: list[Family]
    contrasts: list[Contrast]
    choices: list[Choice] = field(default_factory=list)


def contents(findings: Findings, folder: Path | None, *, maps: bool = False) -> list[Section]:
    """The page's sections; their plots are written into the folder, and left out without one.

    Args:
        maps: show where networks look in the test images that have pictures.
    """
    comparison, families = findings.comparison, findings.families
    palette = Palette(comparison.groups)
    worth = evidence.worth_section(comparison, families, palette)
    settings = settings_sections(comparison, findings.choices)
    if folder is None:
        pairs = evidence.paired_section(comparison, families, palette, [])
        return [
            *(pairs, *settings, worth, _budgets(findings, []), _classes(findings, [])),
            *(_changed_section(findings, []), mistakes_section(comparison, None)),
        ]
    galleries = Galleries(maps)
    with draw_in(STYLE):
        return [
            *question_sections(comparison, folder),
            accuracy_section(comparison, palette, folder),
            evidence.paired_section(comparison, families, palette, _pair_pictures(findings, folder)),
            *settings,
            worth,
            _budgets(findings, cost_pictures(comparison, palette, folder)),
            _classes(findings, _class_pictures(findings, palette, folder)),
            _changed_section(findings, _verdict_pictures(findings, palette, folder), galleries),
            mistakes_section(comparison, galleries),
            _calibration(findings, palette, folder),
            curves_section(comparison, palette, folder),
            confusion_section(comparison, folder),
        ]


def _pair_pictures(findings: Findings, folder: Path) -> list[Picture]:
    pictures, metric = [], findings.comparison.metric
    for place, family in enumerate(findings.families, start=1):
        if family.reference is None and len(family.rows) >= MATRIX_FROM:
            path = draw_pairs(findings.comparison, family, folder / f"pairs-{place:02d}.png")
            few = f", the best {MOST_ROWS} of {len(family.rows)} rows" if len(family.rows) > MOST_ROWS else ""
            title = (
                family.task
                if len(findings.families) > 1
                else f"{metric.unit.capitalize()} of {metric.title}, row less column"
            )
            wide = len(family.rows) > HALF_PAGE
            pictures.append(Picture(path, f"Differences between rows, {title}", f"{title}{few}.", wide=wide))
    return pictures


def _budgets(findings: Findings, pictures: list[Picture]) -> Section:
    points = evidence.budget_points(findings.comparison, findings.families)
    if not points:
        return Section("Best for each budget", "No run says what it took.", [])
    metric = findings.comparison.metric
    caption = (
        f"The best mean {metric.title} for a limit on time, multiply-adds or trained parameters; by the means alone, so"
        " look above for what is shown."
    )
    if pictures:
        caption += (
            f" {'Up' if metric.rising else 'Down'} is better, left is cheaper; the stepped line joins the"
            " rows that no row of equal or lower cost beats, the bar is its 95 % interval, and small dots are single"
            " seeds."
        )
        if any(budget.of(row) == 0 for budget in BUDGETS for row in findings.comparison.groups):
            caption += " A row that costs nothing has no place on such an axis."
    return Section("Best for each budget", caption, pictures, small=True, points=points)


def _describe_contrast(contrast: Contrast, findings: Findings) -> str:
    labels = [findings.comparison.label(side, within_task=True) for side in (contrast.pair.one, contrast.pair.other)]
    task = f"{contrast.task}: " if len(findings.families) > 1 else ""
    return f"{task}{labels[0]} against {labels[1]}"


def _class_pictures(findings: Findings, palette: Palette, folder: Path) -> list[Picture]:
    pictures = []
    for place, contrast in enumerate(findings.contrasts[:MOST_CONTRASTS], start=1):
        if contrast.classes:
            name = _describe_contrast(contrast, findings)
            path = folder / f"classes-{place:02d}-{slug(name)}.png"
            draw_changes(findings.comparison, contrast.pair, contrast.classes, palette, path)
            pictures.append(Picture(path, f"Recall by class, {name}", f"{name}. {_classes_in_words(contrast)}"))
    return pictures


def _classes_in_words(contrast: Contrast) -> str:
    found = contrast.classes
    up = sum(change.difference.mean > 0 for change in found)
    down = sum(change.difference.mean < 0 for change in found)
    top = max(found, key=lambda change: abs(change.difference.mean))
    return (
        f"Recall is higher in {up} of {len(found)} classes and lower in {down}; the largest change is"
        f" {100 * top.difference.mean:+.0f} points ({top.name}, {top.images} test images)."
    )


def _classes(findings: Findings, pictures: list[Picture]) -> Section:
    title = "Class by class"
    known = [contrast for contrast in findings.contrasts if contrast.classes]
    tables = list_classes(findings.comparison, findings.families, findings.contrasts)
    if not known:
        words_ = "There are no two rows with readable predictions of the same test images."
        return Section(title, words_, [], tables=tables)
    undrawn = known[len(pictures) :]
    points = [f"{_describe_contrast(one, findings)}. {_classes_in_words(one)}" for one in undrawn]
    caption = (
        "Recall is the share of a class’s test images that were found, as the mean over the common seeds; bars are 95 %"
        " intervals of the paired difference, each class by itself: of 20 classes one lies clear of 0 by chance, and of"
        " many classes the most changed ones are partly chance. Of more than 24 classes those are drawn; per_class.csv"
        " and class_differences.csv have all."
    )
    return Section(title, caption, pictures, points=points, tables=tables)


def _verdict_pictures(findings: Findings, palette: Palette, folder: Path) -> list[Picture]:
    pictures = []
    for place, contrast in enumerate(findings.contrasts[:MOST_CONTRASTS], start=1):
        if contrast.verdicts is not None:
            name = _describe_contrast(contrast, findings)
            sides = contrast.pair.one, contrast.pair.other
            one, other = (findings.comparison.label(side, within_task=True) for side in sides)
            path = folder / f"changed-{place:02d}-{slug(name)}.png"
            draw_verdicts(contrast.verdicts, (one, other), palette.two(*sides), path)
            pictures.append(Picture(path, f"Test images by verdict, {name}", f"{name}."))
    return pictures


def _changed_section(findings: Findings, pictures: list[Picture], galleries: Galleries | None = None) -> Section:
    title = "Images that changed verdict"
    tables, points, drawn = [], [], []
    for place, contrast in enumerate(findings.contrasts):
        found = contrast.verdicts
        if found is None:
            continue
        order = found.order()
        won, lost = found.turned
        always = "" if found.seeds == 1 else f"; in all {found.seeds} seeds {won:,} and {lost:,}"
        name = _describe_contrast(contrast, findings)
        points.append(
            f"{name}: of {len(found.labels):,} test images {found.gained:,} are gained and {found.lost:,} lost{always}."
        )
        if order:
            count = min(MOST_IMAGES, len(order))
            told = f"{name}: the {count} that changed most, of {len(order):,}"
            where = {"title": told} if len(findings.contrasts) == 1 else {"folded": told}
            tables.append(Listing(f"changed-{place}", HEADS, list_changed(contrast, order[:count]), **where))
        if galleries is not None and place < MOST_CONTRASTS:
            sides = contrast.pair.one, contrast.pair.other
            one, other = (findings.comparison.label(side, within_task=True) for side in sides)
            selection = choose_changed(contrast, (one, other), name)
            drawn += [] if selection is None else [galleries.draw(selection, f"changed-pictures-{place}")]
    if not points:
        return Section(title, "There are no two rows with readable predictions of the same test images.", [])
    caption = (
        "An image is gained where more seeds of the first row get it right than of the second, and lost where fewer do;"
        " changed.csv lists every one."
    )
    if pictures:
        caption += (
            " The squares count images by the seeds that got them right: gained ones lie above the grey diagonal."
        )
    return Section(
        title, caption, pictures, small=True, points=points, tables=tables, galleries=list(filter(None, drawn))
    )


def _calibration(findings: Findings, palette: Palette, folder: Path) -> Section:
    pictures: list[Picture] = []
    without: list[str] = []
    label: Callable = findings.comparison.label
    drawn = {id(group) for group in leading(findings.comparison)}
    for group in findings.comparison.groups:
        found = reliability(group.runs)
        if found is None:
            without.append(label(group))
        elif id(group) in drawn:
            path = folder / f"reliability-{len(pictures) + 1:02d}-{slug(label(group))}.png"
            draw_reliability(group, found, label(group), palette, path)
            pictures.append(Picture(path, f"Reliability diagram of {label(group)}"))
    missing = f" Without probabilities or readable predictions, so left out: {', '.join(without)}." if without else ""
    rest = len(findings.comparison.groups) - len(without) - len(pictures)
    missing += f" The best rows are drawn; calibration.csv has the other {rest} too." if rest else ""
    if not pictures:
        return Section("Calibration", f"No row gives probabilities.{missing}", [])
    caption = (
        "When the network is 80 % sure, is it right 80 % of the time? On the dashed line it is; below it, it is too"
        " sure. Images of all seeds stand in 15 bins of equal width, with their share below; hollow marks hold less"
        " than 1 % of them. The expected calibration error (ECE) is the mean distance from the line over images."
    )
    return Section("Calibration", caption + missing, pictures, small=True)


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:60]
