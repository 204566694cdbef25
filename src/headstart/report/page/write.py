"""Write a report folder: CSV files, the plots and the page, all or nothing."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import RunFailed
from headstart.report.page import csv_tables
from headstart.report.page.csv_tables import make_table
from headstart.report.sections import Plot, Section
from headstart.report.study.columns import COLUMNS
from headstart.report.study.csv_files import write_table
from headstart.report.study.groups import Comparison, Group
from headstart.report.study.read import Run
from headstart.scores import NAMES

if TYPE_CHECKING:
    from pandas import DataFrame

    from headstart.report.page.findings import Findings
    from headstart.report.stats.settings import Choice

log = logging.getLogger(__name__)

STALE_AFTER_S = 3600.0
SHARES = ("test.", "val.", "seconds.")
RUN_NUMBERS = (
    *(f"{part}.{name}" for part in ("test", "val") for name in NAMES),
    *("n_train", "n_val", "n_test", "params.total", "params.trainable", "gmacs", "epochs", "backbone_forwards"),
    *("seconds.features", "seconds.fit", "seconds.test", "seconds.total", "images_per_second", "ms_per_image"),
)


def report(findings: Findings, plots: bool = True, *, maps: bool = False, stamp: str = "") -> Path:
    """Write `<study>/report/` anew and return it; on any error the old report stays as it was.

    Args:
        plots: with charts, and with pictures of test images.
        maps: with maps over these pictures that say where networks look.
        stamp: tells this page from one that is written later; a page with one looks whether there is a newer one.
    """
    from headstart.report.charts.render import write_png
    from headstart.report.page.contents import contents
    from headstart.report.page.gallery import Galleries
    from headstart.report.page.render import render

    comparison = findings.comparison
    target = comparison.study.folder / "report"
    target.parent.mkdir(parents=True, exist_ok=True)  # of several studies
    with replace_folder(target) as folder:
        write_table(summary_table(comparison, findings.choices), folder / "summary.csv")
        write_runs(comparison, findings.choices, folder / "runs.csv")
        text = json.dumps(record_decision(findings), indent=1, ensure_ascii=False)
        (folder / "decision.json").write_text(text + "\n", encoding="utf-8")
        write_evidence(findings, folder)
        galleries = Galleries(maps, target) if plots else None
        sections = contents(findings, folder, galleries)
        specs = make_specs(sections)
        for name, panels in specs.items():
            write_png(panels, folder / f"{name}.png")
        (folder / "index.html").write_text(render(findings, sections, specs, galleries, stamp), encoding="utf-8")
        if stamp:
            (folder / "stamp.js").write_text(f"window.newest = {json.dumps(stamp)};\n", encoding="utf-8")
    return target


def make_specs(sections: Iterable[Section]) -> dict[str, list[dict[str, Any]]]:
    """The specifications of all charts, by the name of their figure."""
    from headstart.report.charts.render import make_spec

    plots = [plot for section in sections for plot in section.pictures if isinstance(plot, Plot)]
    return {plot.name: [make_spec(chart) for chart in plot.charts] for plot in plots}


@contextmanager
def replace_folder(target: Path, content: str = "The report") -> Iterator[Path]:
    """Give a new folder beside `target` to fill with `content`, and put it in target's place once it is full.

    Two renames: killed between them, both the old and the new folder lie complete under hidden names.
    """
    new: Path | None = None
    old: Path | None = None
    try:
        for left in target.parent.glob(f".{target.name}-*"):
            if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        new.chmod(0o755)
        yield new
        if target.exists():
            old = new.with_name(f"{new.name}-old")
            target.rename(old)
        new.rename(target)
    except OSError as error:
        written = sum(path.stat().st_size for path in new.rglob("*") if path.is_file()) if new else 0
        raise RunFailed(
            f"{content} could not be written to {target} ({written} bytes so far): {error}. An older one there is "
            "untouched."
        ) from error
    finally:
        if old is not None and old.exists() and not target.exists():
            old.rename(target)
        for own in (new, old):
            if own is not None and own.exists():
                shutil.rmtree(own, ignore_errors=True)


def key_headings(comparison: Comparison, taken: Sequence[str]) -> list[str]:
    """The CSV names of the varying config keys: their dotted paths, `config.` before one that is taken."""
    return [f"config.{key}" if key in taken else key for key in comparison.keys]


def summary_headings() -> list[str]:
    """The columns of summary.csv after those that name a row."""
    names = ["n", "seeds"]
    for column in COLUMNS:
        names += [f"{column.name}_{end}" for end in ("mean", "std", "interval")] if column.spread else [column.name]
    return names


def summary_row(group: Group) -> list[Any]:
    """One group's cells under `summary_headings`, None where not known."""
    row: list[Any] = [len(group.runs), " ".join(str(run.repeat) for run in group.runs)]
    for column in COLUMNS:
        found = group.over_runs(column.value)
        if column.spread:
            row += [None] * 3 if found is None else [found.mean, found.std, found.interval]
        else:
            row.append(None if found is None else _exact(found.mean))
    return row


def record_decision(findings: Findings) -> dict[str, Any]:
    """What decision.json holds: the row to take in words, what was chosen on validation, and what is open."""
    from headstart.report.stats.decision import decide
    from headstart.report.stats.settings import record_choice
    from headstart.report.stats.settle import record_question

    comparison, families = findings.comparison, findings.families
    decision = decide(comparison, families)
    references = {
        family.task: comparison.label(family.reference, within_task=True)
        for family in families
        if family.reference is not None
    }
    return {
        "study": comparison.study.name,
        "metric": comparison.metric.name,
        "decision": [decision.sentence, *decision.tasks],
        "reference": references or None,
        "chosen": [record_choice(comparison, choice) for choice in findings.choices],
        "open": [record_question(comparison, question) for question in findings.open],
    }


def _with_folded(comparison: Comparison, choices: Sequence[Choice]) -> list[tuple[Group, bool]]:
    """The rows that are compared, then those that were not chosen on validation."""
    folded = [row for choice in choices for row in choice.others]
    return [*((row, True) for row in comparison.groups), *((row, False) for row in folded)]


def summary_table(comparison: Comparison, choices: Sequence[Choice] = ()) -> DataFrame:
    """The table of summary.csv: one row per group, in full precision.

    Columns: model, strategy, data; each config key that tells rows apart, by its dotted path; n (runs) and
    seeds (separated by spaces). Then, for accuracy, balanced_accuracy, top5, f1, auroc, nll, ece and seconds,
    `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_interval` (half-width of the 95 %
    interval, Student's t). Then means over seeds: epochs, backbone_forwards, params_trainable, params_total,
    gmacs. Shares lie in 0..1, seconds are those with a cold cache. A cell is empty where the number is not
    known for every run of the group, and std and interval are empty for one run. Last, compared: false for settings
    that were not chosen on validation, which stand below the others.
    """
    fixed = ["model", "strategy", "data"]
    numbers = summary_headings()
    rows = [
        [group.model, group.strategy, group.data, *group.keys.values(), *summary_row(group), str(compared).lower()]
        for group, compared in _with_folded(comparison, choices)
    ]
    return make_table([*fixed, *key_headings(comparison, fixed + numbers), *numbers, "compared"], rows)


def write_runs(comparison: Comparison, choices: Sequence[Choice], path: Path) -> None:
    """Write one row per completed run, in full precision.

    Columns: run (folder), model, strategy, data, the config keys that tell rows apart, seed, fold, cached, seconds
    (with a cold cache), the numbers of result.json under their dotted paths (test.accuracy, seconds.fit,
    ...), config_hash, wandb_id; compared: false for settings that were not chosen on validation.
    """
    fixed = ["run", "model", "strategy", "data"]
    numbers = ["seed", "fold", "cached", "seconds", *RUN_NUMBERS, "config_hash", "wandb_id"]
    rows = [
        [*_run_names(run), *group.keys.values(), *_run_row(run), str(compared).lower()]
        for group, compared in _with_folded(comparison, choices)
        for run in group.runs
    ]
    write_table(make_table([*fixed, *key_headings(comparison, fixed + numbers), *numbers, "compared"], rows), path)


def write_evidence(findings: Findings, folder: Path) -> None:
    """Write what is shown between rows; `headstart.report.page.csv_tables` says what each file holds."""
    comparison, families, contrasts = findings.comparison, findings.families, findings.contrasts
    write_table(csv_tables.pairs(comparison, families), folder / "pairs.csv")
    write_table(csv_tables.gains(comparison, families), folder / "worth.csv")
    write_table(csv_tables.scores_by_class(comparison, families), folder / "per_class.csv")
    write_table(csv_tables.class_differences(comparison, contrasts), folder / "class_differences.csv")
    write_table(csv_tables.confidence_bins(comparison, families), folder / "calibration.csv")
    write_table(csv_tables.changed_images(comparison, contrasts), folder / "changed.csv")


def _run_names(run: Run) -> list[Any]:
    return [run.name, run.model, run.strategy, run.data]


def _run_row(run: Run) -> list[Any]:
    numbers = [run.number(path) if path.startswith(SHARES) else _exact(run.number(path)) for path in RUN_NUMBERS]
    return [
        run.seed,
        run.repeat.fold if run.repeat.fold >= 0 else None,
        str(run.cached).lower(),
        run.seconds,
        *numbers,
        run.result.get("config_hash"),
        run.wandb_id,
    ]


def _exact(value: float | None) -> float | int | None:
    """A count without its `.0`."""
    return int(value) if value is not None and value.is_integer() else value
