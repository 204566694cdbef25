"""Studies that are written, compared and read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from headstart.cli.compare import main
from headstart.report.stats.families import families
from headstart.report.stats.paired import Family
from headstart.report.study.answers import Answers
from headstart.report.study.groups import Comparison, compare
from headstart.report.study.read import Repeat, Run, read, read_run


def compared(outputs: Path, *arguments: str) -> None:
    """Run the verb without plots."""
    assert main([*arguments, "--output-dir", str(outputs), "--no-plots"]) == 0


def half_width(values: list[float]) -> float:
    """The half-width of the 95 % interval, as scipy.stats computes it."""
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return (high - low) / 2


def table(outputs: Path, file: str = "summary.csv") -> list[dict[str, str]]:
    """The rows of one of the CSV files of the demo's report."""
    with (outputs / "demo/report" / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def read_results(outputs: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Every result.json with its predictions, by strategy and seed."""
    found = {}
    for path in (outputs / "demo").glob("*/result.json"):
        result = json.loads(path.read_text())
        with (path.parent / "predictions.csv").open(newline="") as lines:
            result["rows"] = list(csv.DictReader(lines))
        found[result["strategy"], result["seed"]] = result
    return found


def looked_at(outputs: Path, reference: str | None = None) -> tuple[Comparison, Family]:
    """The study's comparison and its one task: all pairs, or each row against a reference."""
    comparison = compare(read(outputs / "demo"))
    (family,) = families(comparison, reference, all_pairs=reference is None)
    return comparison, family


def answered(labels: list[int], predicted: list[int], confidence: list[float]) -> Any:
    """A run with nothing but these answers."""
    kinds = np.array(labels, np.int32), np.array(predicted, np.int32), np.array(confidence)
    facts = {"answers": Answers(*kinds, images="the same"), "classes": ["a", "b", "c"], "repeat": Repeat(0)}
    return type("Run", (), facts)()


def made(outputs: Path, study: str = "demo", *options: str) -> str:
    """Write a study's report and return its page."""
    assert main([study, "--output-dir", str(outputs), *options]) == 0
    return (outputs / study / "report" / "index.html").read_text(encoding="utf-8")


def run_of(folder: Path) -> Run:
    """Read one completed run."""
    run = read_run(folder)
    assert isinstance(run, Run)
    return run
