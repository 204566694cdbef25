"""The report's sections in their order: what is shown, what it costs, then where the rows differ."""

from pathlib import Path

from headstart.report.page.all_rows import curves_section, scores_section
from headstart.report.page.costs import budgets_section, worth_section
from headstart.report.page.evidence import paired_section, settings_sections
from headstart.report.page.findings import Findings
from headstart.report.page.gallery import Galleries
from headstart.report.page.mistakes import mistakes_section
from headstart.report.page.search import search_sections
from headstart.report.page.single_rows import calibration_section, confusions_section
from headstart.report.page.two_rows import changed_section, classes_section
from headstart.report.questions import figures_asked_for
from headstart.report.sections import Section


def contents(findings: Findings, folder: Path, galleries: Galleries | None) -> list[Section]:
    """The page's sections; a figure of somebody's own is drawn into the folder.

    Args:
        galleries: which draw test images; None leaves charts out too.
    """
    comparison, table, drawn = findings.comparison, findings.table, galleries is not None
    figures = figures_asked_for(comparison).items() if drawn else ()
    return [
        *(figure.draw(comparison, folder / f"{name}.png") for name, figure in figures),
        *([scores_section(table)] if drawn else []),
        paired_section(findings, drawn=drawn),
        *settings_sections(table, findings.choices),
        *search_sections(comparison.study.folder, drawn=drawn),
        worth_section(table, findings.families),
        budgets_section(table, findings.families, drawn=drawn),
        classes_section(findings, drawn=drawn),
        changed_section(findings, galleries),
        mistakes_section(table, galleries),
        *([calibration_section(table), curves_section(table), confusions_section(table)] if drawn else []),
    ]
