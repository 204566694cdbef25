"""What a command says of its search: `hydra.sweeper` with `hydra/sweeper=search`, and the keys that are swept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from headstart.search.extra import find_missing_optuna
from headstart.search.objective import Objective, read_objectives
from headstart.search.space import Space, read_space

EXAMPLE = "'optimizer.lr=tag(log,interval(1e-4,1e-1))'"


@dataclass(frozen=True)
class Plan:
    """A search: where it looks, for what, and how long; `seed` draws its proposals, not what the trials draw."""

    space: Space
    objectives: Sequence[Objective]
    n_trials: int
    seed: int


def read_plan(composed: DictConfig, overrides: Sequence[Override], groups: Iterable[str]) -> tuple[list[str], Plan]:
    """Read the search of a composed command, and find what is wrong with it.

    Args:
        overrides: of files and of the command line, which replace those of the same key.
        groups: which of the swept keys are config groups.
    """
    settings: Any = OmegaConf.to_container(composed.hydra.sweeper, resolve=True)
    problems, space = read_space(overrides, groups)
    wrong, objectives = read_objectives(settings.get("objective"), settings.get("direction"))
    problems += wrong
    for name, lowest in (("n_trials", 1), ("seed", 0)):
        value = settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            problems.append(f"hydra.sweeper.{name}={value}: must be a whole number, at least {lowest}")
    if not space.dimensions and not problems:
        problems.append(f"hydra/sweeper=search: nothing to choose; give a key several values or an interval: {EXAMPLE}")
    if any(each.key_or_group == "rerun" and each.value() is True for each in overrides):
        problems.append("rerun=true: a search runs no trial twice; use another study to begin anew")
    if len(objectives) > 1 and composed.prune != "none":
        problems.append(
            f"prune={composed.prune}: with two objectives, a run that is behind in one may lead in the other: "
            "leave prune out"
        )
    if (missing := find_missing_optuna("hydra/sweeper=search")) is not None:
        problems.append(missing)
    return problems, Plan(space, objectives, settings.get("n_trials"), settings.get("seed"))
