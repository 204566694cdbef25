"""What was found in a study: its rows, the tests of their differences, and what is looked into."""

from dataclasses import dataclass, field
from functools import cached_property

from headstart.report.charts.tables import Table
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.paired import Family
from headstart.report.stats.settings import Choice
from headstart.report.stats.settle import Question, open_questions
from headstart.report.study.groups import Comparison


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

    def describe(self, contrast: Contrast) -> str:
        """Which two rows are looked into, in words."""
        task = f"{contrast.task}: " if len(self.families) > 1 else ""
        return f"{task}{self.table.label(contrast.pair.one)} against {self.table.label(contrast.pair.other)}"
