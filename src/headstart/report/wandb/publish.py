"""Create or update a study's saved view and its report in W&B; their ids are kept in the study's folder."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import RunFailed, UserError
from headstart.report.wandb.dashboard import CHARTS, make_report, make_workspace
from headstart.report.wandb.view_internals import get_view, set_view
from headstart.storage.files import write_text

if TYPE_CHECKING:
    from headstart.report.page.findings import Findings
    from headstart.report.study.read import Run, Study

IDS = "wandb.json"
MOST_CHARTS = 12


def publish(findings: Findings, report: Path) -> list[str]:
    """Send the saved view and the report of a study, with the charts in the folder `report`; returns their addresses.

    Raises:
        UserError: wandb-workspaces is not installed, there is no API key, or the runs name no project.
        RunFailed: the server refuses.
    """
    try:
        import wandb
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--wandb needs {error.name}, which is not installed: pip install 'headstart[wandb-report]'"
        ) from error
    study = findings.comparison.study
    wandb.setup(wandb.Settings(silent=True))
    if not wandb.login(prompt=False, verify=False):
        raise UserError("--wandb: W&B has no API key: set WANDB_API_KEY or call wandb login")
    project, entity = find_place(study.runs)
    try:
        entity = entity or str(wandb.Api().default_entity)
        ids = read_ids(study.folder / IDS, entity, project) | {"entity": entity, "project": project}
        ids.setdefault("charts", f"{study.folder.name}-charts-{secrets.token_hex(3)}")  # its own in each output folder
        _write_ids(study.folder, ids)
        charts = _send_charts(study, ids, sorted(report.glob("*.png"))[:MOST_CHARTS])
        workspace = make_workspace(findings.comparison, entity, project)
        set_view(workspace, ids)
        workspace.save()
        ids |= get_view(workspace)
        _write_ids(study.folder, ids)
        made = make_report(findings, entity, project, charts, ids["charts"])
        made.id = ids.get("report", "")
        made.save()
        ids |= {"report": made.id}
    except Exception as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunFailed(f"--wandb: W&B did not take the view and the report of {study.name}: {reason}") from error
    _write_ids(study.folder, ids)
    return [str(workspace.url), str(made.url)]


def find_place(runs: Sequence[Run]) -> tuple[str, str | None]:
    """The project and the entity to which most runs of the study went; the entity is None for the account's own."""
    places = Counter(
        (str(run.config["logger.project"]), run.config.get("logger.entity"))
        for run in runs
        if run.config is not None and run.config.get("logger.wandb") and run.config.get("logger.project")
    )
    if not places:
        raise UserError("--wandb: no run of the study was logged to W&B; train with logger=wandb")
    (project, entity), _ = places.most_common(1)[0]
    return project, None if entity is None else str(entity)


def read_ids(path: Path, entity: str, project: str) -> dict[str, str]:
    """The ids of what was made before in this project; empty if there is nothing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        known = json.loads(path.read_text("utf-8"))
        if (known.get("entity"), known.get("project")) == (entity, project):
            return {key: str(value) for key, value in known.items()}
    return {}


def _write_ids(folder: Path, ids: Mapping[str, str]) -> None:
    write_text(folder / IDS, json.dumps(ids, indent=1) + "\n")


def _send_charts(study: Study, ids: Mapping[str, str], pictures: Sequence[Path]) -> list[str]:
    """Log the charts of the page to a run of their own, which the report's panels show; returns their names."""
    if not pictures:
        return []
    import wandb

    from headstart.tracking.wandb_names import fit_names
    from headstart.tracking.wandb_settings import QUIET

    quiet: Any = wandb.Settings(**QUIET)
    about: dict[str, Any] = {**fit_names(ids["charts"], f"{study.name} charts", study.name), "job_type": CHARTS}
    where: dict[str, Any] = {"entity": ids["entity"], "project": ids["project"], "dir": str(study.folder)}
    run = wandb.init(**about, **where, config={"study": study.name, "charts": ids["charts"]}, settings=quiet)
    images = {f"charts/{path.stem}": wandb.Image(str(path)) for path in pictures}
    run.log(dict(images))
    run.finish()
    return list(images)
