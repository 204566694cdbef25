"""What is tried next depends on the trials that are there, and not on how often the search was started."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from headstart.search.objective import read_objectives
from headstart.search.propose import propose
from headstart.search.space import Params, Space, read_space
from headstart.search.trials import COMPLETE, PRUNED, RUNNING, UNFINISHED, Trial

LINES = ("lr=tag(log,interval(1e-5,1e-1))", "wd=interval(0,0.5)", "head=ridge,knn")
_, GOAL = read_objectives("val_accuracy", None)


def make_space(*lines: str) -> Space:
    return read_space(OverridesParser.create().parse_overrides(list(lines)), ())[1]


def answer(params: Params) -> float:
    return -((math.log10(params["lr"]) + 3) ** 2) - params["wd"] + 0.1 * (params["head"] == "knn")


def search(trials: Sequence[Trial], until: int, seed: int = 0) -> list[Trial]:
    found, space = list(trials), make_space(*LINES)
    for number in range(sum(trial.number is not None for trial in found), until):
        params = propose(space, GOAL, found, seed=seed, number=number)
        assert params is not None
        found.append(Trial(f"run-{number}", number, COMPLETE, params, (answer(params),)))
    return found


def test_a_search_that_is_cut_off_goes_on_as_if_it_had_not_been() -> None:
    whole = search([], 24)
    assert len({repr(trial.params) for trial in whole}) == 24
    for cut in (1, 9, 10, 17):
        assert search(whole[:cut][::-1], 24)[cut:] == whole[cut:]
    assert search([], 12, seed=1) != whole[:12]


def test_it_learns_from_the_trials() -> None:
    whole = search([], 40)
    first, last = whole[:10], whole[30:]
    assert max(trial.values for trial in last) > max(trial.values for trial in first)
    distance = [sum(abs(math.log10(t.params["lr"]) + 3) for t in some) for some in (first, last)]
    assert distance[1] < 0.7 * distance[0]


def test_runs_of_grids_are_learnt_from_first() -> None:
    grid = [
        Trial(f"grid-{n}", None, COMPLETE, p, (answer(p),))
        for n, p in enumerate({"lr": 10.0**-e, "wd": 0.1 * w, "head": "knn"} for e in range(1, 6) for w in range(3))
    ]
    learnt = search(grid, 6)[len(grid) :]
    assert learnt == search(grid[::-1], 6)[len(grid) :], "their order does not matter"
    assert learnt != search([], 6)
    assert sum(abs(math.log10(trial.params["lr"]) + 3) for trial in learnt) < 6


def test_trials_that_run_now_are_kept_away_from_and_later_ones_are_not_looked_at() -> None:
    space, whole = make_space(*LINES), search([], 15)
    alone = propose(space, GOAL, whole[:14], seed=0, number=14)
    assert alone == whole[14].params
    beside = {**alone, "wd": 0.99 * alone["wd"]}
    running, ended = (Trial("x", None, state, beside) for state in (RUNNING, UNFINISHED))
    assert propose(space, GOAL, [*whole[:14], running], seed=0, number=14) != alone
    assert propose(space, GOAL, [*whole[:14], ended], seed=0, number=14) == alone
    assert propose(space, GOAL, whole, seed=0, number=14) != alone, "a point is never tried twice"
    other = Trial("later", 20, COMPLETE, {"lr": 0.1, "wd": 0.5, "head": "ridge"}, (9.0,))
    assert propose(space, GOAL, [*whole[:14], other], seed=0, number=14) == alone
    failed = Trial("x", 20, UNFINISHED, {"lr": 0.1, "wd": 0.5, "head": "ridge"})
    assert propose(space, GOAL, [*whole[:14], failed], seed=0, number=14) == alone


def test_pruned_trials_count_by_their_curve() -> None:
    space, whole = make_space(*LINES), search([], 14)
    pruned = [Trial(t.name, t.number, PRUNED, t.params, curve={1: t.values[0]}) for t in whole]
    assert propose(space, GOAL, pruned, seed=0, number=14) is not None


def test_a_space_with_few_points_ends() -> None:
    space = make_space("head=ridge,knn", "size=range(32,65,32)")
    trials: list[Trial] = []
    for number in range(4):
        params = propose(space, GOAL, trials, seed=0, number=number)
        assert params is not None
        trials.append(Trial(str(number), number, COMPLETE, params, (0.5,)))
    assert len({repr(trial.params) for trial in trials}) == 4
    assert propose(space, GOAL, trials, seed=0, number=4) is None
