"""What a search has done, from a study's folders alone: its trials in their order, and what mattered.

A launch leaves `search.json` in its folder under `.hydra/`: the space and the objectives in words of this package, and
which runs of other commands it took for trials. Everything else stands in the runs' own files.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.errors import UserError
from headstart.search.extra import import_optuna
from headstart.search.objective import Objective
from headstart.search.plan import Plan
from headstart.search.propose import rebuild
from headstart.search.space import Dimension, Space
from headstart.search.trials import COMPLETE, LOADER, Trial, make_trial, read_overrides
from headstart.storage.files import write_text
from headstart.storage.study_state import is_run, read_run

NAME = "search.json"
FEWEST = 10  # complete trials below which an importance says nothing


@dataclass(frozen=True)
class History:
    """The trials of a study's newest search, those of other commands first, then by number."""

    space: Space
    objectives: Sequence[Objective]
    trials: Sequence[Trial]

    @property
    def complete(self) -> list[Trial]:
        """The trials that have values."""
        return [trial for trial in self.trials if trial.state == COMPLETE]


def write_search(folder: Path, plan: Plan, trials: Sequence[Trial]) -> None:
    """Leave in a launch's folder what its search is."""
    facts = {
        "objectives": [asdict(each) for each in plan.objectives],
        "space": [asdict(each) for each in plan.space.dimensions],
        "groups": sorted(plan.space.groups),
        "others": [trial.name for trial in trials if trial.number is None],
    }
    write_text(folder / NAME, json.dumps(facts, indent=1) + "\n")


def read_history(study: Path) -> History | None:
    """The newest search of a study; None if there was none."""
    for path in sorted(study.glob(f".hydra/*/{NAME}"), key=lambda each: each.stat().st_mtime, reverse=True):
        with suppress(OSError, ValueError, LookupError, TypeError):
            facts = json.loads(path.read_text("utf-8"))
            dimensions = [
                Dimension(**each | {"choices": tuple(each["choices"]), "values": tuple(each["values"])})
                for each in facts["space"]
            ]
            space = Space(tuple(dimensions), frozenset(facts["groups"]))
            objectives = [Objective(**each) for each in facts["objectives"]]
            found = [_read_trial(run, space, objectives, facts["others"]) for run in study.iterdir() if is_run(run)]
            trials = sorted(
                filter(None, found), key=lambda each: (each.number is not None, each.number or 0, each.name)
            )
            return History(space, objectives, trials)
    return None


def _read_trial(run: Path, space: Space, objectives: Sequence[Objective], others: Sequence[str]) -> Trial | None:
    with suppress(OSError, ValueError, LookupError, TypeError, yaml.YAMLError, UserError, OmegaConfBaseException):
        kept = yaml.load((run / "config.yaml").read_text("utf-8"), Loader=LOADER)
        number = kept.get("trial")
        if number is None and run.name not in others:
            return None
        config, asked = OmegaConf.create(kept), read_overrides(run)
        assert isinstance(config, DictConfig)
        choices = {each.key: asked.get(each.key) for each in space.dimensions if each.path in space.groups}
        params = space.find_params(config, choices)
        return None if params is None else make_trial(read_run(run), number, params, objectives)
    return None


def measure_importance(history: History, objective: int = 0) -> Mapping[str, float] | None:
    """The share of each key in what makes a trial one of the best, by PED-ANOVA (Watanabe et al. 2023), largest first.

    Returns:
        None if there are fewer than FEWEST complete trials, fewer than two keys, or no Optuna.
    """
    if len(history.complete) < FEWEST or len(history.space.dimensions) < 2 or find_spec("optuna") is None:
        return None
    optuna = import_optuna("importance")
    distributions = {each.key: each.make_distribution(optuna) for each in history.space.dimensions}
    study = rebuild(optuna, distributions, history.objectives, history.complete)
    goal = history.objectives[objective]

    def read(trial: Any) -> float:
        # the evaluator takes the smallest values of a target for the best ones
        return float(-trial.values[objective] if goal.direction == "maximize" else trial.values[objective])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which says so each time
        found = optuna.importance.get_param_importances(study, target=read)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
