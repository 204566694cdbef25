"""Learning curves of a study's rows: validation accuracy by epoch, over phases and seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.report.study.groups import Comparison, Group, natural
from headstart.report.study.read import Run

MOST_LINES = 15


@dataclass(frozen=True)
class Curve:
    """One run's validation accuracy in 0..1: by epoch (1, 2, ... through all phases; 0 is a probe before
    them).

    `begins` are the epochs after which a further phase starts; `probe` is set when there are no epochs at
    all.
    """

    by_epoch: dict[int, float]
    begins: list[int]
    probe: float | None


def read_curve(run: Run) -> Curve | None:
    """A run's curve from metrics.csv, or None where it holds no validation accuracy.

    A row without an epoch, or of a phase that the config gives a probe, is a probe's; a row written twice
    counts once.
    """
    phases: dict[str, dict[float, float | None]] = {}
    fitted: dict[str, float] = {}
    try:
        rows = run.rows("metrics.csv")
    except OSError:
        return None
    for row in rows:
        phase, accuracy = row.get("phase", ""), _number(row.get("val_accuracy", ""))
        epoch = _number(row.get("epoch", ""))
        if epoch is None or (run.config or {}).get(f"strategy.phases.{phase}.probe._target_"):
            if accuracy is not None:
                fitted[phase] = accuracy
        else:
            phases.setdefault(phase, {})[epoch] = accuracy
    by_epoch: dict[int, float] = {}
    begins: list[int] = []
    done = 0
    for epochs in phases.values():
        if done:
            begins.append(done)
        for rank, epoch in enumerate(sorted(epochs), start=done + 1):
            accuracy = epochs[epoch]
            if accuracy is not None:
                by_epoch[rank] = accuracy
        done += len(epochs)
    last = next(reversed(fitted.values()), None) if fitted else None
    if not by_epoch:
        return None if last is None else Curve({}, [], last)
    if last is not None:
        by_epoch[0] = last
    return Curve(dict(sorted(by_epoch.items())), begins, None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def panels(comparison: Comparison) -> dict[str, list[Group]]:
    """The groups by panel: one per task, and per model where a task has many rows; best first, at most 15 of
    them.
    """
    found: dict[str, list[Group]] = {}
    for task, rows in comparison.tasks().items():
        models = sorted({row.model for row in rows}, key=natural)
        if len(rows) <= 8 or len(models) == 1:
            found[task] = rows
        else:
            found |= {f"{task} · {model}": [row for row in rows if row.model == model] for model in models}
    return {
        title if len(rows) <= MOST_LINES else f"{title}, best {MOST_LINES} of {len(rows)}": rows[:MOST_LINES]
        for title, rows in found.items()
    }
