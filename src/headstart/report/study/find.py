"""Find the study that is meant."""

from pathlib import Path

from headstart.errors import UserError, nearest_names
from headstart.report.study.read import read, run_folders


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
    finished = {path: when for path in known if (when := _completion_time(path)) is not None}
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


def _completion_time(study: Path) -> float | None:
    done = [run.folder / "result.json" for run in read(study).runs]
    return max((path.stat().st_mtime for path in done), default=None)
