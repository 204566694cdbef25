"""The page's section on a search: its history, what mattered, the front of two objectives, and every trial."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart.report.sections import Cell, Listing, Plot, Section, number, words
from headstart.search.history import FEWEST, History, measure_importance, read_history
from headstart.search.objective import MAXIMIZE, Objective, describe_values, find_front
from headstart.search.trials import COMPLETE, PRUNED, Trial
from headstart.storage.plain_text import escape_controls


def search_sections(study: Path, *, drawn: bool = True) -> list[Section]:
    """What a study's newest search found on validation images; nothing where there was none, or no trial is complete.

    Args:
        drawn: with charts.
    """
    history = read_history(study) if study.is_dir() else None
    if history is None or not history.complete:
        return []
    goals = " and ".join(f"{each.direction} {each.name}" for each in history.objectives)
    caption = (
        f"Trials in their order, to {goals}; all numbers are of validation images or costs. A run of another command "
        "that lies in the space is a trial without a number."
    )
    plots = _draw(history) if drawn else []
    return [Section("Search", caption, plots, small=True, points=_list_points(history), tables=[_list_trials(history)])]


def _draw(history: History) -> list[Plot]:
    from headstart.report.charts.search import draw_front, draw_history, draw_importance

    first = history.objectives[0]
    plots = [
        Plot(
            "search-history",
            [draw_history(_follow(history), first.name)],
            f"{first.name} of each trial in its order, and the best so far",
            caption="Dots are trials, hollow where pruned; the line is the best so far.",
        )
    ]
    if (shares := measure_importance(history)) is not None:
        plots.append(
            Plot(
                "search-importance",
                [draw_importance(shares, first.name)],
                f"Importance of each key for {first.name}",
                caption=f"Importance for {first.name} by PED-ANOVA: how much of what tells the best trials from the "
                "others lies in each key.",
            )
        )
    if len(history.objectives) > 1:
        front = _find_front(history)
        points = [
            {
                "first": trial.values[0],
                "second": trial.values[1],
                "front": trial in front,
                "settings": _name(history, trial),
            }
            for trial in history.complete
        ]
        names = [each.name for each in history.objectives]
        caption = "The line joins the trials that no other one beats in both objectives (the Pareto front)."
        plots.append(Plot("search-front", [draw_front(points, names)], caption, caption=caption))
    return plots


def _follow(history: History) -> list[dict[str, Any]]:
    """The trials in their order, each with the best value so far."""
    goal, rows, best = history.objectives[0], [], None
    better = max if goal.direction == MAXIMIZE else min
    for place, trial in enumerate(history.trials, 1):
        value = _find_value(trial, goal)
        if value is None:
            continue
        if trial.state == COMPLETE:
            best = value if best is None else better(best, value)
        rows.append(
            {"place": place, "value": value, "best": best, "state": trial.state, "settings": _name(history, trial)}
        )
    return rows


def _find_value(trial: Trial, goal: Objective) -> float | None:
    if trial.state == COMPLETE:
        return trial.values[0]
    if trial.state == PRUNED and trial.curve and goal.name == "val_accuracy":
        return max(trial.curve.values())
    return None


def _find_front(history: History) -> list[Trial]:
    complete = history.complete
    return [complete[place] for place in find_front(history.objectives, [trial.values for trial in complete])]


def _list_points(history: History) -> list[str]:
    """The best trials in words, and the importance of each key."""
    front = _find_front(history)
    head = "Best" if len(history.objectives) == 1 else "On the front"
    points = [
        f"{head}: {_name(history, trial)}: {describe_values(history.objectives, trial.values)}"
        for trial in sorted(front, key=lambda each: -each.values[0])
    ]
    for place, goal in enumerate(history.objectives):
        if (shares := measure_importance(history, place)) is not None:
            listed = ", ".join(f"{key} {100 * share:.0f} %" for key, share in shares.items())
            points.append(f"Importance for {goal.name}: {listed}")
    if find_spec("optuna") is None:
        points.append("The importance of the keys needs Optuna: pip install 'headstart[search]'")
    elif len(history.complete) < FEWEST:
        points.append(f"The importance of the keys needs {FEWEST} complete trials.")
    return points


def _list_trials(history: History) -> Listing:
    heads = [("trial", "In the order of the search.", True)]
    heads += [(each.path, "", not each.choices) for each in history.space.dimensions]
    heads += [(each.name, each.direction, True) for each in history.objectives]
    heads += [("state", "", False), ("run", "", False)]
    front = _find_front(history)
    rows = [
        [*_list_cells(history, trial), _mark(trial, front), words(escape_controls(trial.name))]
        for trial in history.trials
    ]
    return Listing("search-trials", heads, rows, folded=f"All {len(rows)} trials")


def _list_cells(history: History, trial: Trial) -> list[Cell]:
    params = [trial.params[each.key] for each in history.space.dimensions]
    values: Sequence[float | None] = trial.values or [None] * len(history.objectives)
    return [
        number(None if trial.number is None else trial.number + 1),
        *(words(value) if isinstance(value, str) else number(float(value), "{:g}".format) for value in params),
        *(number(value, each.format) for each, value in zip(history.objectives, values, strict=True)),
    ]


def _mark(trial: Trial, front: Sequence[Trial]) -> Cell:
    return Cell("best", "0", bold=True) if trial in front else words(trial.state)


def _name(history: History, trial: Trial) -> str:
    return escape_controls("  ".join(f"{each.path}={trial.params[each.key]}" for each in history.space.dimensions))
