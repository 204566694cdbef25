"""Look at a study: group its runs, order the rows, test their differences, choose what to look into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.errors import UserError, did_you_mean
from headstart.report.page import csv_tables
from headstart.report.page.findings import Findings
from headstart.report.page.write import record_decision, report
from headstart.report.stats.contrast import contrasts
from headstart.report.stats.families import families
from headstart.report.stats.settings import choose_settings
from headstart.report.study.columns import BY_NAME
from headstart.report.study.groups import Comparison, Group, compare, natural
from headstart.report.study.read import Study


def look_at(
    study: Study,
    sort: str | None = None,
    between: tuple[str, str] | None = None,
    reference: str | None = None,
    *,
    all_pairs: bool = False,
    keep: Sequence[str] = (),
) -> Findings:
    """What a study's runs show.

    Args:
        sort: the column by which rows are ordered.
        between: two rows by label that are looked into.
        reference: the row, by label, that every other one is tested against; None: the cheapest.
        all_pairs: test all pairs of rows.
        keep: settings that are compared, and not chosen on validation (`headstart.report.stats.settings`).

    Raises:
        UserError: there is no such column, row or setting.
    """
    comparison, choices = choose_settings(compare(study), keep)
    if sort:
        comparison = sort_rows(comparison, sort)
    tested = families(comparison, reference, all_pairs)
    return Findings(comparison, tested, contrasts(comparison, tested, between), choices)


@dataclass(frozen=True)
class Compared:
    """What `headstart.compare` returns.

    Attributes:
        decision: the row to take and what shows it, a sentence for the study and one for each of several tasks.
        rows: of summary.csv, by column; numbers in full precision, None where one is not known.
        pairs: of pairs.csv.
        chosen: what was chosen on validation: a row, and the settings that it was chosen among.
        open: differences that are not shown, and what would settle them: seeds, test images, commands.
        folder: of the report.
    """

    decision: list[str]
    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    chosen: list[dict[str, Any]]
    open: list[dict[str, Any]]
    folder: Path


def summarize(findings: Findings, plots: bool = True, *, maps: bool = False) -> Compared:
    """Write the report of what was found, and return what it says as plain values."""
    folder = report(findings, plots, maps=maps)
    found = record_decision(findings)
    rows, pairs = (make(findings).to_dict("records") for make in (csv_tables.summary, csv_tables.pairs))
    return Compared(found["decision"], rows, pairs, found["chosen"], found["open"], folder)


def sort_rows(comparison: Comparison, name: str) -> Comparison:
    """Sort the comparison's rows by one column: the best or the smallest value first, unknown values last."""
    keys = {alias: key for key in comparison.keys for alias in (key, comparison.short(key))}
    names = ["model", "strategy", "data", "n", *BY_NAME, *keys]
    name = name.removesuffix("_mean")
    if name not in names:
        hint = did_you_mean(name, names, " Did you mean {}?")
        raise UserError(f"--sort {name}: no such column.{hint} Columns: {', '.join(dict.fromkeys(names))}.")

    def rank(group: Group) -> tuple[tuple[int, float, str], ...]:
        if name in BY_NAME:
            found = group.over_runs(BY_NAME[name].value)
            sign = -1.0 if BY_NAME[name].rising else 1.0
            return natural(None if found is None else sign * found.mean)
        if name == "n":
            return natural(-len(group.runs))
        return natural(group.keys[keys[name]] if name in keys else getattr(group, name))

    return replace(comparison, groups=sorted(comparison.groups, key=rank))
