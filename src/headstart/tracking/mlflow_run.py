"""A run in MLflow: in one SQLite database for all studies, or on a server; an experiment is a study."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from headstart.tracking.tracker import PATIENCE, About, Pictures, State

STATES = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "pruned": "FINISHED"}
DATABASE_PATIENCE = 60.0  # seconds: a new database is made in 10 s or so, and jobs of a sweep wait for each other
LONGEST = 6000  # characters of a parameter


class MlflowRun:
    """Records through `MlflowClient`, so that nothing global is set; `uri` is `sqlite:///FILE` or an address."""

    name = "mlflow"

    def __init__(self, uri: str, about: About) -> None:
        self._uri, self._about = uri, about
        self.patience = DATABASE_PATIENCE if uri.startswith("sqlite:") else PATIENCE

    def load(self) -> None:
        import mlflow  # noqa: F401

    def open(self) -> None:
        import logging

        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._client = MlflowClient(self._uri)
        about = self._about
        try:
            experiment = self._client.create_experiment(about.study)
        except MlflowException:  # it exists, or another job makes it now
            found = self._client.get_experiment_by_name(about.study)
            if found is None:
                raise
            experiment = found.experiment_id
        for earlier in self._client.search_runs([experiment], f"tags.headstart_id = '{about.run_id}'"):
            self._client.delete_run(earlier.info.run_id)
        tags = {"headstart_id": about.run_id, "strategy": about.job_type} | dict.fromkeys(about.tags, "true")
        self._id = self._client.create_run(experiment, tags=tags, run_name=about.name).info.run_id
        self.describe(about.config)

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [Metric(_clean(name), float(value), now, epoch) for name, value in point.items()]
        self._client.log_batch(self._id, metrics=values)

    def describe(self, facts: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(_clean(name), str(value)[:LONGEST]) for name, value in facts.items()]
        for start in range(0, len(params), 100):  # at most so many in one call
            self._client.log_batch(self._id, params=params[start : start + 100])

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        known = {name: value for name, value in numbers.items() if isinstance(value, int | float)}
        self.log(0, known)
        for name in numbers.keys() - known.keys():
            if numbers[name] is not None:
                self._client.set_tag(self._id, _clean(name), str(numbers[name])[:LONGEST])

    def show(self, pictures: Pictures) -> None:
        """MLflow's files would stand in a folder beside the database: the picture is in the run's folder already."""

    def close(self, state: State) -> None:
        self._client.set_tag(self._id, "status", state)
        self._client.set_terminated(self._id, STATES[state])


def _clean(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w./ -]", "_", name)[:250]
