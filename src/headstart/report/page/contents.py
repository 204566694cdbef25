"""The report's sections in their order: what is shown, what it costs, then where the rows differ."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.report.charts.tables import MOST_SCORES, Table
from headstart.report.page import evidence
from headstart.report.page.changed_table import list_changed
from headstart.report.page.class_tables import list_classes
from headstart.report.page.gallery import Galleries
from headstart.report.page.mistakes import mistakes_section
from headstart.report.page.pictures import choose_changed
from headstart.report.page.plots import plot_costs, plot_curves, plot_pairs, plot_scores
from headstart.report.page.row_plots import plot_calibration, plot_classes, plot_confusions, plot_verdicts
from headstart.report.page.search import search_sections
from headstart.report.page.settings_table import settings_sections
from headstart.report.questions import figures_asked_for
from headstart.report.sections import Plot, Section
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.paired import Family
from headstart.report.stats.settings import Choice
from headstart.report.stats.settle import Question, open_questions
from headstart.report.stats.worth import BUDGETS
from headstart.report.study.groups import Comparison

MOST_IMAGES = 16
MOST_CONTRASTS = 8


@dataclass(frozen=True)
class Findings:
    """A comparison, its pairs by task, the pairs that are looked into, and the settings that were chosen before."""

    comparison: Comparison
    families: list[Family]
    contrasts: list[Contrast]
    choices: list[Choice] = field(default_factory=list)

    @cached_property
    def table(self) -> Table:
        """The comparison as its charts see it."""
        return Table(self.comparison)

    @cached_property
    def open(self) -> list[Question]:
        """The differences that are not shown, and what would settle them."""
        return open_questions(self.families)


def contents(findings: Findings, folder: Path, galleries: Galleries | None) -> list[Section]:
    """The page's sections; a figure of somebody's own is drawn into the folder.

    Args:
        galleries: which draw test images; None leaves charts out too.
    """
    comparison, families = findings.comparison, findings.families
    table = findings.table
    worth = evidence.worth_section(table, families)
    settings = settings_sections(table, findings.choices)
    if galleries is None:
        pairs = evidence.paired_section(table, families, findings.open, [])
        return [
            *(pairs, *settings, *search_sections(comparison.study.folder, drawn=False), worth),
            *(_budgets(findings, []), _classes(findings, [])),
            *(_changed_section(findings, []), mistakes_section(comparison, None)),
        ]
    figures = figures_asked_for(comparison).items()
    return [
        *(figure.draw(comparison, folder / f"{name}.png") for name, figure in figures),
        _scores(table),
        evidence.paired_section(table, families, findings.open, plot_pairs(table, families)),
        *settings,
        *search_sections(comparison.study.folder),
        worth,
        _budgets(findings, plot_costs(table)),
        _classes(findings, _class_plots(findings, table)),
        _changed_section(findings, _verdict_plots(findings, table), galleries),
        mistakes_section(comparison, galleries),
        _calibration(table),
        _curves(table),
        _confusions(table),
    ]


def _scores(table: Table) -> Section:
    title = table.comparison.metric.title
    caption = (
        f"Each row's large mark is its mean test {title}, the bar its 95 % interval (none for one seed), and each small"
        " dot below it one seed."
    )
    most = max(3, MOST_SCORES // len(table.comparison.tasks()))
    if any(len(rows) > most for rows in table.comparison.tasks().values()):
        caption += f" The best {most} rows of each task are drawn, of a subset the best of that."
    return Section(title[0].upper() + title[1:], caption, [plot_scores(table)])


def _curves(table: Table) -> Section:
    plots, without = plot_curves(table)
    missing = f" Without a readable metrics.csv: {', '.join(without)}." if without else ""
    if not plots:
        return Section("Learning curves", f"No run recorded validation accuracy by epoch.{missing}", [])
    caption = (
        "Lines are mean validation accuracy after each epoch that all seeds have, bands reach from the lowest to the"
        " highest seed, phases follow each other (a hollow mark where one begins), and a dashed level is a fitted"
        " probe, which has no epochs."
    )
    return Section("Learning curves", caption + missing, plots, small=True)


def _confusions(table: Table) -> Section:
    plots, missing = plot_confusions(table)
    note = f" {missing}" if missing else ""
    if not plots:
        return Section("Confusion matrices", f"No run left readable predictions.{note}", [])
    caption = (
        "Rows are true classes, columns predicted ones; each row adds up to 100 % over all seeds' test images, so a"
        " perfect model is dark on the diagonal only."
    )
    return Section("Confusion matrices", caption + note, plots, small=True)


def _budgets(findings: Findings, pictures: Sequence[Plot]) -> Section:
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


def _class_plots(findings: Findings, table: Table) -> list[Plot]:
    plots = []
    for place, contrast in enumerate(findings.contrasts[:MOST_CONTRASTS], start=1):
        if contrast.classes:
            name = _describe_contrast(contrast, findings)
            plots.append(plot_classes(table, contrast, place, name, f"{name}. {_classes_in_words(contrast)}"))
    return plots


def _classes_in_words(contrast: Contrast) -> str:
    found = contrast.classes
    up = sum(change.difference.mean > 0 for change in found)
    down = sum(change.difference.mean < 0 for change in found)
    top = max(found, key=lambda change: abs(change.difference.mean))
    return (
        f"Recall is higher in {up} of {len(found)} classes and lower in {down}; the largest change is"
        f" {100 * top.difference.mean:+.0f} points ({top.name}, {top.images} test images)."
    )


def _classes(findings: Findings, pictures: Sequence[Plot]) -> Section:
    title = "Class by class"
    known = [contrast for contrast in findings.contrasts if contrast.classes]
    tables = list_classes(findings.table, findings.families, findings.contrasts)
    if not known:
        words_ = "There are no two rows with readable predictions of the same test images."
        return Section(title, words_, [], tables=tables)
    undrawn = known[len(pictures) :]
    points = [f"{_describe_contrast(one, findings)}. {_classes_in_words(one)}" for one in undrawn]
    caption = (
        "Recall is the share of a class’s test images that were found, as the mean over the common seeds; beside it"
        " stands the paired difference with its 95 % interval, bold where that is clear of 0. Each class is looked at"
        " by itself: of 20 classes one lies clear of 0 by chance, and of many classes the most changed ones are partly"
        " chance. Of more than 24 classes those are drawn; per_class.csv and class_differences.csv have all."
    )
    return Section(title, caption, pictures, points=points, tables=tables)


def _verdict_plots(findings: Findings, table: Table) -> list[Plot]:
    found = enumerate(findings.contrasts[:MOST_CONTRASTS], start=1)
    return [
        plot_verdicts(table, contrast, place, _describe_contrast(contrast, findings))
        for place, contrast in found
        if contrast.verdicts is not None
    ]


def _changed_section(findings: Findings, pictures: Sequence[Plot], galleries: Galleries | None = None) -> Section:
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
            where: dict[str, Any] = {"title": told} if len(findings.contrasts) == 1 else {"folded": told}
            tables.append(list_changed(findings.table, contrast, f"changed-{place}", order[:count], galleries, **where))
        if galleries is not None and place < MOST_CONTRASTS:
            sides = contrast.pair.one, contrast.pair.other
            one, other = (findings.comparison.label(side, within_task=True) for side in sides)
            numbers = findings.table.number(sides[0]), findings.table.number(sides[1])
            selection = choose_changed(contrast, (one, other), name, numbers)
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


def _calibration(table: Table) -> Section:
    plots, without = plot_calibration(table)
    missing = f" Without probabilities or readable predictions, so left out: {', '.join(without)}." if without else ""
    rest = len(table.comparison.groups) - len(without) - len(plots)
    missing += f" The best rows are drawn; calibration.csv has the other {rest} too." if rest else ""
    if not plots:
        return Section("Calibration", f"No row gives probabilities.{missing}", [])
    caption = (
        "When the network is 80 % sure, is it right 80 % of the time? On the dashed line it is; below it, it is too"
        " sure. Images of all seeds stand in 15 bins of equal width, with their share as pale bars; hollow marks hold"
        " less than 1 % of them. The expected calibration error (ECE) is the mean distance from the line over images."
    )
    return Section("Calibration", caption + missing, plots, small=True)
