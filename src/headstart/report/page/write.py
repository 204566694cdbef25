"""Write a report folder: CSV files, the plots and the page, all or nothing."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.errors import RunFailed
from headstart.report.page.csv_tables import FILES
from headstart.report.page.findings import Findings
from headstart.report.sections import Plot, Section
from headstart.report.stats.decision import decide
from headstart.report.stats.settings import record_choice
from headstart.report.stats.settle import record_question
from headstart.report.study.csv_files import write_table

STALE_AFTER_S = 3600.0


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

    target = findings.comparison.study.folder / "report"
    target.parent.mkdir(parents=True, exist_ok=True)  # of several studies
    with replace_folder(target) as folder:
        for name, make in FILES.items():
            write_table(make(findings), folder / name)
        text = json.dumps(record_decision(findings), indent=1, ensure_ascii=False)
        (folder / "decision.json").write_text(text + "\n", encoding="utf-8")
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


def record_decision(findings: Findings) -> dict[str, Any]:
    """What decision.json holds: the row to take in words, what was chosen on validation, and what is open."""
    comparison, families = findings.comparison, findings.families
    decision = decide(comparison, families)
    references = {
        family.task: findings.table.label(family.reference) for family in families if family.reference is not None
    }
    return {
        "study": comparison.study.name,
        "metric": comparison.metric.name,
        "decision": [decision.sentence, *decision.tasks],
        "reference": references or None,
        "chosen": [record_choice(comparison, choice) for choice in findings.choices],
        "open": [record_question(comparison, question) for question in findings.open],
    }
