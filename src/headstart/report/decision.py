"""Say in plain words what a study shows, and no more than it shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from headstart.report.columns import percent
from headstart.report.groups import Comparison, Group

UNTESTED = "Differences are not tested here."


@dataclass(frozen=True)
class Decision:
    """What a study shows: one paragraph, and one line per task where there are several."""

    sentence: str
    tasks: list[str]


def score(group: Group) -> str:
    """A row's accuracy in words: `83.5 % ± 1.2, 3 seeds`."""
    found = group.accuracy
    if found.interval is None:
        return f"{percent(found.mean)} %, 1 seed, no interval"
    return f"{percent(found.mean)} % ± {percent(found.interval)}, {found.n} seeds"


def overlap(one: Group, other: Group) -> bool | None:
    """Whether two rows' intervals overlap; None where either has none."""
    a, b = one.accuracy, other.accuracy
    if a.interval is None or b.interval is None:
        return None
    return abs(a.mean - b.mean) <= a.interval + b.interval


def verdict(comparison: Comparison, rows: list[Group]) -> str:
    """Who leads one task (rows best first), and how firmly, without a full stop."""
    best = rows[0]
    name = comparison.label(best, within_task=True)
    if len(rows) == 1:
        return f"{name} reaches an accuracy of {score(best)}; there is no other row to compare it with"
    second = rows[1]
    rival = f"{comparison.label(second, within_task=True)} ({score(second)})"
    if best.accuracy.mean == second.accuracy.mean:
        return f"{name} ({score(best)}) ties for the best mean accuracy with {rival}"
    lead = f"{name} has the best mean accuracy ({score(best)}); "
    match overlap(best, second):
        case None:
            return lead + f"the runner-up is {rival}, and with a single seed the difference may be chance"
        case True:
            return lead + f"its interval overlaps the runner-up's, {rival}"
        case _:
            return lead + f"its interval lies clear of the runner-up's, {rival}"


def gains(comparison: Comparison, rows: list[Group]) -> list[tuple[float, str]]:
    """Points that the best pretrained row of each model gains over its best from-scratch row, and which they
    are.

    Rows come best first, so the first entry belongs to the best pretrained row that has a counterpart.
    """
    found = []
    for model in dict.fromkeys(row.model for row in rows):
        scratch = next((row for row in rows if row.model == model and row.from_scratch), None)
        started = next((row for row in rows if row.model == model and not row.from_scratch), None)
        if scratch and started:
            names = (comparison.label(started, within_task=True), comparison.label(scratch, within_task=True))
            found.append((100 * (started.accuracy.mean - scratch.accuracy.mean), " over ".join(names)))
    return found


def points(gain: float) -> str:
    """A difference as `gains 28.1 points` or `loses 2.0 points`."""
    return f"{'gains' if gain >= 0 else 'loses'} {abs(gain):.1f} points"


def decide(comparison: Comparison) -> Decision:
    """The decision over one task or several."""
    tasks = comparison.tasks()
    if len(tasks) == 1:
        rows = next(iter(tasks.values()))
        return Decision(_paragraph(verdict(comparison, rows), gains(comparison, rows), len(rows) > 1), [])
    lines = [
        f"{task}: {_paragraph(verdict(comparison, rows), gains(comparison, rows))}" for task, rows in tasks.items()
    ]
    return Decision(_overall(comparison, tasks), lines)


def _paragraph(lead: str, gained: list[tuple[float, str]], compared: bool = False) -> str:
    parts = [f"{lead}."]
    if gained:
        others = f"; over {len(gained)} models {_span(gained)}" if len(gained) > 1 else ""
        parts.append(f"Pretraining {points(gained[0][0])} ({gained[0][1]}{others}).")
    return " ".join([*parts, UNTESTED] if compared else parts)


def _span(gained: list[tuple[float, str]]) -> str:
    values = [gain for gain, _ in gained]
    return f"{min(values):+.1f} to {max(values):+.1f} points"


def _overall(comparison: Comparison, tasks: dict[str, list[Group]]) -> str:
    wins = Counter(comparison.label(rows[0], within_task=True) for rows in tasks.values()).most_common()
    clear = sum(len(rows) > 1 and overlap(rows[0], rows[1]) is False for rows in tasks.values())
    shown = ", ".join(f"{name} on {count}" for name, count in wins[1:4])
    more = f", {len(wins) - 4} others on the rest" if len(wins) > 4 else ""
    first = f"{wins[0][0]} has the best mean accuracy on {wins[0][1]} of {len(tasks)} tasks"
    parts = [f"{first}{', ' + shown if shown else ''}{more}."]
    parts.append(f"On {clear} of {len(tasks)} the best interval lies clear of the runner-up's. {UNTESTED}")
    gained = [gain for rows in tasks.values() for gain in gains(comparison, rows)]
    if gained:
        parts.append(f"Pretraining changes accuracy by {_span(gained)} over scratch.")
    return " ".join(parts)
