"""What a search looks for: scores on validation images and costs, never a number of the test images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.scores import NAMES

MAXIMIZE, MINIMIZE = "maximize", "minimize"
COSTS = {
    "seconds": ("seconds.total", "seconds.features_reused"),  # as with a cold cache
    "parameters": ("params.total",),
    "gmacs": ("gmacs",),
}
SCORES = tuple(f"val_{name}" for name in NAMES)
DOWN = (*COSTS, "val_nll", "val_ece")


@dataclass(frozen=True)
class Objective:
    """One number of `result.json` that a search makes large or small."""

    name: str
    direction: str

    def read(self, result: Mapping[str, Any]) -> float | None:
        """The number of a completed run; None if it has none."""
        if self.name in SCORES:
            return _read_number(result, f"val.{self.name.removeprefix('val_')}")
        first, *others = (_read_number(result, path) for path in COSTS[self.name])
        return None if first is None else first + sum(other or 0.0 for other in others)

    def format(self, value: float) -> str:
        """The number as people read it."""
        if self.name in SCORES and self.name not in DOWN:
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if self.name == "parameters" else f"{value:.3g}"


def read_objectives(names: Any, directions: Any) -> tuple[list[str], list[Objective]]:
    """What `hydra.sweeper.objective` and `hydra.sweeper.direction` say, and what is wrong with them."""
    given = names if isinstance(names, list) else [names]
    wanted = directions if isinstance(directions, list) else [directions]
    known = (*SCORES, *COSTS)
    if not 1 <= len(given) <= 2:
        return [f"hydra.sweeper.objective={given}: one or two of {', '.join(known)}"], []
    for name in given:
        if name not in known:
            tested = "; test images are looked at once, when everything has been chosen" if "test" in str(name) else ""
            return [f"hydra.sweeper.objective={name}: must be one of {', '.join(known)}{tested}"], []
    if len(set(given)) < len(given):
        return [f"hydra.sweeper.objective={given}: two different ones, such as [val_accuracy,seconds]"], []
    if wanted == [None]:
        wanted = [MINIMIZE if name in DOWN else MAXIMIZE for name in given]
    if len(wanted) != len(given) or any(each not in (MAXIMIZE, MINIMIZE) for each in wanted):
        return [f"hydra.sweeper.direction={directions}: maximize or minimize, one for each objective, or null"], []
    return [], [Objective(name, direction) for name, direction in zip(given, wanted, strict=True)]


def describe_values(objectives: Sequence[Objective], values: Sequence[float]) -> str:
    """What a trial has of each objective: `val_accuracy 93.1 %, seconds 12`."""
    return ", ".join(f"{each.name} {each.format(value)}" for each, value in zip(objectives, values, strict=True))


def find_front(objectives: Sequence[Objective], points: Sequence[Sequence[float]]) -> list[int]:
    """The numbers of the points that no other one beats or equals in every objective (the Pareto front), in order."""
    signed = [
        [value if each.direction == MAXIMIZE else -value for each, value in zip(objectives, point, strict=True)]
        for point in points
    ]

    def is_beaten(number: int) -> bool:
        mine = signed[number]
        return any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and (other != mine or place < number)
            for place, other in enumerate(signed)
            if place != number
        )

    return [number for number in range(len(signed)) if not is_beaten(number)]


def _read_number(result: Mapping[str, Any], path: str) -> float | None:
    node: Any = result
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, bool) or not isinstance(node, int | float) or not math.isfinite(node):
        return None
    return float(node)
