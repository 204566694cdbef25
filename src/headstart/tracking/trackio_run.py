"""A run in Trackio, Hugging Face's local-first tracker: `trackio show --project PROJECT` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.tracking.tracker import PATIENCE, About, Pictures, State


class TrackioRun:
    """Records in Trackio's own database (TRACKIO_DIR); runs are grouped by study."""

    name, patience = "trackio", PATIENCE

    def __init__(self, project: str, about: About, *, system: bool) -> None:
        self._project, self._about, self._system = project, about, system

    def load(self) -> None:
        import trackio  # noqa: F401

    def open(self) -> None:
        import trackio
        from trackio.gpu import gpu_available

        about = self._about
        try:
            earlier = [run for run in trackio.Api().runs(self._project) if run.id == about.run_id]
        except ValueError:  # there is no such project yet
            earlier = []
        for run in earlier:
            run.delete()
        self._run = trackio.Run(
            None,
            self._project,
            None,
            name=about.name,
            run_id=about.run_id,
            group=about.study,
            config=dict(about.config),
            auto_log_gpu=self._system and gpu_available(),
        )

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        self._run.log({"epoch": epoch, **point}, step=epoch)

    def describe(self, facts: Mapping[str, Any]) -> None:
        self._run.config.update(facts)

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        self._run.log({name: value for name, value in numbers.items() if value is not None})

    def show(self, pictures: Pictures) -> None:
        import trackio

        self._run.log({"test/confusion": trackio.Image(str(pictures.confusion))})

    def close(self, state: State) -> None:
        self._run.log({"status": state})
        self._run.finish()
