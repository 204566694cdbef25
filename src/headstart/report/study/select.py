"""Find the studies that are meant, and read them by what they are compared by; runs without it do not count."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.errors import UserError, nearest_names
from headstart.report.study.datasets import tell_apart
from headstart.report.study.facts import not_counted
from headstart.report.study.metric import ACCURACY, Metric
from headstart.report.study.read import Run, Skipped, Study, read, run_folders

STUDY = "compare.study"  # the key that tells studies apart

# Why a completed run may not have a metric.
LACKS = {
    "balanced_accuracy": "results of before it was written have none",
    "nll": "a probe without probabilities (ridge) has none",
    "f1": "results of before it was written have none",
    "auroc": "it needs probabilities and a test image of every class, and results of before it was written have none",
}


def studies(outputs: Path) -> list[Path]:
    """The folders of an output folder that hold runs, sorted by name."""
    if not outputs.is_dir():
        return []
    folders = [path for path in sorted(outputs.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return [path for path in folders if any(run_folders(path))]


def find(outputs: Path, name: str | None) -> Path:
    """The folder of the study with this name, or else of the study whose completed run is the newest."""
    known = studies(outputs)
    if not known:
        raise UserError(f"{outputs} holds no study. Run one first, for example: headstart train -m experiment=demo")
    if name is not None:
        return _find_named(known, outputs, name.rstrip("/"))
    times = {path: [(run.folder / "result.json").stat().st_mtime for run in read(path).runs] for path in known}
    finished = {path: max(when) for path, when in times.items() if when}
    if not finished:
        names = ", ".join(path.name for path in known)
        raise UserError(f"{outputs} holds no completed run yet (studies there: {names}).")
    return max(finished, key=lambda path: finished[path])


def _find_named(known: list[Path], outputs: Path, name: str) -> Path:
    names = [path.name for path in known]
    if name in names:
        return outputs / name
    near = nearest_names(name, names, limit=len(names), cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    raise UserError(f"{outputs} holds no study {name!r}. Studies there, nearest name first: {', '.join(ordered)}.")


def judge(study: Study, metric: Metric) -> Study:
    """The study with this metric as every run's score; a run without it goes to those that do not count."""
    if metric is ACCURACY:  # which no run is read without
        return study
    judged = [replace(run, metric=metric) for run in study.runs]
    lacking = [Skipped(run.name, f"without test.{metric.name} ({run.strategy})") for run in judged if _lacks(run)]
    return replace(study, runs=[run for run in judged if not _lacks(run)], skipped=[*study.skipped, *lacking])


def _lacks(run: Run) -> bool:
    return run.number(f"test.{run.metric.name}") is None


def join_studies(studies: Sequence[Study]) -> Study:
    """Several studies as one, whose rows stand side by side: the study is a key that tells them apart."""
    if len(studies) == 1:
        return studies[0]
    runs = [
        replace(run, study=study.name, config=None if run.config is None else {**run.config, STUDY: study.name})
        for study in studies
        for run in study.runs
    ]
    names = [study.name for study in studies]
    skipped = [replace(run, name=f"{study.name}/{run.name}") for study in studies for run in study.skipped]
    return Study(" + ".join(names), studies[0].folder.with_name("+".join(names)), runs, skipped)


def read_study(folders: Path | Sequence[Path], metric: Metric) -> Study:
    """Read a study, or several as one, to compare its runs by a metric; data of one name that differ have names of
    their own.

    Raises:
        UserError: no completed run has the metric.
    """
    several = [folders] if isinstance(folders, Path) else list(folders)
    study = judge(tell_apart(join_studies([read(folder) for folder in several])), metric)
    if study.runs:
        return study
    names = " ".join(folder.name for folder in several)
    if any(run.kind.startswith("without test.") for run in study.skipped):
        raise UserError(
            f"No completed run of study {study.name} has test.{metric.name} ({not_counted(study)}):"
            f" {LACKS[metric.name]}. Compare by what they have: headstart compare {names} --metric accuracy"
        )
    raise UserError(f"Study {study.name} has no completed run to compare ({not_counted(study)}).")
