"""What a search tries next: Optuna's ask, on a study that is rebuilt from the trials each time.

Trial number k depends on the seed, on k, and on the trials before k, on nothing else: not on how often the search was
cut off and started again. So a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.search.extra import import_optuna
from headstart.search.objective import Objective
from headstart.search.space import Space
from headstart.search.trials import COMPLETE, PRUNED, RUNNING, Trial

TRIES = 20  # how often a point that was tried already is drawn before one that was not is looked for


def propose(
    space: Space, objectives: Sequence[Objective], trials: Sequence[Trial], *, seed: int, number: int
) -> dict[str, Any] | None:
    """Choose the values of a trial; None if every point of the space has been tried.

    Args:
        trials: all that are there; those with a higher number than this one's say only which points are taken.
    """
    optuna = import_optuna("a search")
    taken = {_name_point(trial.params) for trial in trials}
    if len(taken) == space.count_points():
        return None
    distributions = {each.key: each.make_distribution(optuna) for each in space.dimensions}
    before = [trial for trial in trials if trial.number is None or trial.number < number]
    for attempt in range(TRIES):
        # a sampler of its own for each trial: one that had gone on drawing would not be where it was after a restart
        drawn = int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])
        study = rebuild(optuna, distributions, objectives, before, optuna.samplers.TPESampler(seed=drawn))
        asked = study.ask(distributions)
        params = {each.key: each.settle(asked.params[each.key]) for each in space.dimensions}
        if _name_point(params) not in taken:
            return params
    return _find_untried(space, taken)


def rebuild(
    optuna: Any,
    distributions: Mapping[str, Any],
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    sampler: Any = None,
) -> Any:
    """An Optuna study in memory with the trials that count: grid runs by their folders' names, then by number."""
    states = optuna.trial.TrialState
    kinds = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, RUNNING: states.RUNNING}
    study = optuna.create_study(directions=[each.direction for each in objectives], sampler=sampler)
    for trial in sorted(trials, key=lambda each: (each.number is not None, each.number, each.name)):
        if trial.state not in kinds:
            continue
        study.add_trial(
            optuna.trial.create_trial(
                state=kinds[trial.state],
                params=dict(trial.params),
                distributions=dict(distributions),
                values=list(trial.values) if trial.state == COMPLETE else None,
                intermediate_values=dict(trial.curve),
            )
        )
    return study


def _name_point(params: Mapping[str, Any]) -> str:
    return repr(sorted(params.items()))


def _find_untried(space: Space, taken: set[str]) -> dict[str, Any] | None:
    """The first point of a space with a number of points that was not tried; None where they cannot be counted."""
    if space.count_points() is None:
        return None
    axes = [each.list_values() for each in space.dimensions]
    for values in itertools.product(*axes):
        params = {each.key: value for each, value in zip(space.dimensions, values, strict=True)}
        if _name_point(params) not in taken:
            return params
    return None
