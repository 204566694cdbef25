"""What the page's script reads: the runs with their numbers, the charts, and what a run opens to."""

import base64
import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from headstart.evaluation.metrics import ECE_BINS, confidence_bins
from headstart.report.charts.tables import MOST_SCORES, Table
from headstart.report.page.findings import Findings
from headstart.report.page.gallery import Galleries, OwnFigures
from headstart.report.page.mistakes import OwnMistakes
from headstart.report.page.templates import make_link
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.one_row import count_run, leading
from headstart.report.stats.worth import BUDGETS
from headstart.report.study.answers import Answers
from headstart.report.study.columns import Column
from headstart.report.study.groups import Comparison, Group, natural, plain, student_t
from headstart.report.study.read import Run

WHOLE_MATRIX, MOST_PAIRS = 16, 60  # classes up to which each run has its confusion; of more, its largest confusions
MOST_CLASSES = 1000


def kind_of(column: Column) -> str:
    """How a column's numbers are written: the name of a function that the page's script has too."""
    return column.write.__name__


def link(run: Run, report: Path) -> str:
    """The way from the report to the run's folder."""
    return make_link(run.folder, report) + "/"


def make_store(
    findings: Findings, columns: Sequence[Column], charts: Mapping[str, Any], galleries: Galleries | None, report: Path
) -> dict[str, Any]:
    """The page's data as plain values; what many runs share is kept once, and each run has its place there.

    Args:
        charts: the specifications of the charts, by name.
        galleries: which read the test images; None: there are no pictures.
    """
    table, comparison = findings.table, findings.comparison
    counts, mistakes = Counts(table, findings.contrasts), OwnMistakes(galleries)
    figures = OwnFigures(report, pictures=galleries is not None)
    phases: dict[str, int] = defaultdict(count().__next__)
    images: dict[str, int] = defaultdict(count().__next__)
    classes: dict[tuple[str, ...], int] = defaultdict(count().__next__)

    def describe(group: Group, run: Run) -> dict[str, Any]:
        shown = run.answers.images if run.answers else str((run.result.get("digests") or {}).get("data"))
        found: dict[str, Any] = {
            "row": table.number(group),
            "seed": str(run.repeat),
            "repeat": run.repeat,
            "name": run.name,
            "href": link(run, report),
            "values": [column.value(run) for column in columns],
            "differs": table.differing[run.name],
            "phases": phases[json.dumps(_phases(run))],
            "images": images[shown],
            "classes": classes[tuple(run.classes)],
            "curve": _curve(table, run),
        }
        if run.overrides is not None:
            found["command"] = shlex.join(["headstart", "train", *run.overrides])
        found |= counts.of(group, run) | mistakes.of(run)
        found |= figures.of(run, drawn=("confusion.png",) if "confusion" in found else ())
        return found | ({"wandb": run.wandb_id} if run.wandb_id else {})

    return {
        **_describe_study(table, columns),
        "runs": [describe(group, run) for group in comparison.groups for run in group.runs],
        "phases": [json.loads(text) for text in phases],
        "classes": list(classes),
        "images": list(images),
        **mistakes.draw(),
        "charts": charts,
    }


def _describe_study(table: Table, columns: Sequence[Column]) -> dict[str, Any]:
    comparison, metric = table.comparison, table.comparison.metric
    dims = _list_dimensions(comparison)
    most = max(len(group.runs) for group in comparison.groups)
    names = {"params_total": "parameters", "gmacs": "GMACs per image", "epochs": "epochs"}
    costs = {budget.name: budget.axis for budget in BUDGETS} | names
    known = {column.name for column in columns}
    return {
        "metric": {"name": metric.name, "title": metric.title, "rising": metric.rising, "axis": metric.axis},
        "t": [None, None, *(student_t(n - 1) for n in range(2, most + 1))],
        "columns": [{"name": c.name, "title": c.title, "kind": kind_of(c), "rising": c.rising} for c in columns],
        "costs": {name: title for name, title in costs.items() if name in known},
        "worths": {c.name: c.title for c in columns if c.spread and c.name != "seconds"},
        "dims": [{"title": title, "values": [plain(value) for value in values]} for title, values, _ in dims],
        "most": MOST_SCORES,
        "tasks": [{"name": name, "rows": [*map(table.number, rows)]} for name, rows in comparison.tasks().items()],
        "rows": [
            {
                "label": table.label(group),
                "name": comparison.label(group),
                "dims": [None if value is None else values.index(value(group)) for _, values, value in dims],
            }
            for group in comparison.groups
        ],
    }


def write_json(value: Any) -> str:
    """JSON that ends no script element, whatever the names in it say; `NaN` is null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


Dimension = tuple[str, list[Any], Any]  # title, values in order, a row's (None: the repeat)


def _list_dimensions(comparison: Comparison) -> list[Dimension]:
    """What the page filters by: whatever differs between rows, and the repeats."""
    found: list[tuple[str, Any]] = []
    found += [(name, attrgetter(name)) for name in ("strategy", "model", "data")]
    for key in comparison.keys:
        found.append((comparison.short(key), lambda group, key=key: group.keys[key]))
    made: list[Dimension] = []
    for title, value in found:
        values = dict.fromkeys(map(value, comparison.groups))
        made.append((title, sorted(values, key=lambda each: natural(each)), value))
    repeats = sorted({run.repeat for group in comparison.groups for run in group.runs})
    return [dim for dim in [*made, ("seed", [*map(str, repeats)], None)] if len(dim[1]) > 1]


def _curve(table: Table, run: Run) -> dict[str, Any] | None:
    """The run's learning curve: `probe`, or the epochs (`x`) with their accuracies (`y`) and where phases begin."""
    curve = table.curves[run.name]
    if curve is None:
        return None
    if curve.probe is not None:
        return {"probe": curve.probe}
    return {"x": list(curve.by_epoch), "y": [round(y, 5) for y in curve.by_epoch.values()], "begins": curve.begins}


def _phases(run: Run) -> list[list[str]]:
    """What the run did, phase by phase: its name, what it was, what learnt at which rate, epochs."""
    made = []
    phases = run.result.get("phases")
    for phase in phases if isinstance(phases, list) else []:
        name = str(phase.get("name"))
        start = f"strategy.phases.{name}.rates."
        rates = {key.removeprefix(start): value for key, value in (run.config or {}).items() if key.startswith(start)}
        learns = ", ".join(f"{part} {'frozen' if rate is None else plain(rate)}" for part, rate in rates.items())
        made.append([name, str(phase.get("kind") or ""), learns, plain(phase.get("epochs"))])
    return made


class Counts:
    """The counts of single runs: of those that charts are drawn of all, of the others what fits the page."""

    def __init__(self, table: Table, contrasts: list[Contrast]) -> None:
        self._leading = {id(row) for row in leading(table.comparison)}
        self._compared = {id(row) for one in contrasts for row in (one.pair.one, one.pair.other)}

    def of(self, group: Group, run: Run) -> dict[str, Any]:
        """A run's counts; empty where it has no readable predictions."""
        answers, n = run.answers, len(run.classes)
        if answers is None or not n:
            return {}
        drawn = id(group) in self._leading | self._compared
        found: dict[str, Any] = {}
        if n <= WHOLE_MATRIX or drawn:
            found["confusion"] = list_confusion(answers, n)
        elif n <= MOST_CLASSES:
            found["worst"] = _list_worst(run, n)
        if id(group) in self._leading and answers.confidence is not None:
            found["bins"] = count_bins(answers)
        if id(group) in self._compared:
            found["right"] = base64.b64encode(np.packbits(answers.right).tobytes()).decode("ascii")
        return found


def list_confusion(answers: Answers, classes: int) -> list[int]:
    """The confusion matrix without its zeros: for each other count, row after row, how far on it stands, and itself."""
    places, counts = np.unique(answers.labels.astype(np.int64) * classes + answers.predicted, return_counts=True)
    return [int(number) for number in np.stack([np.diff(places, prepend=0), counts], axis=1).ravel()]


def _list_worst(run: Run, classes: int) -> list[int]:
    """The largest confusions: true class, predicted class and count of each."""
    counts = count_run(run, classes)
    assert counts is not None
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), classes) for place in order if counts.flat[place]]
    return [number for true, seen in places for number in (true, seen, int(counts[true, seen]))]


def count_bins(answers: Answers) -> list[list[float]]:
    """Images, right ones and the sum of confidences in each bin of confidence."""
    assert answers.confidence is not None
    bins = confidence_bins(answers.confidence)
    images, right = (np.bincount(of, minlength=ECE_BINS).tolist() for of in (bins, bins[answers.right]))
    sums = np.bincount(bins, weights=answers.confidence, minlength=ECE_BINS)
    return [images, right, [round(float(each), 6) for each in sums]]
