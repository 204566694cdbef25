"""The space of a search, in the words of Hydra's sweeps: keys with intervals, ranges or choices.

optimizer.lr: tag(log, interval(1e-5, 1e-2))      any number between, by orders of magnitude
strategy.phases.tail.rates.last.groups: range(1, 5)     1, 2, 3 or 4
head: logistic, ridge, knn                         one of these
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, ListConfig, OmegaConf

LOG, INT = "log", "int"  # tags of a sweep
DIGITS = 4  # significant ones of a number from an interval: people read it, and write it in a command
Params = Mapping[str, Any]  # by key: a number, or a choice as it is written in an override


@dataclass(frozen=True)
class Dimension:
    """One key of a space: numbers from `low` to `high`, or the `choices`, as an override names them.

    Attributes:
        key: as an override names it, with `+` where it adds the key.
        path: the key alone, or the group.
        step: between two numbers; None: any number.
        values: what the choices stand for.
    """

    key: str
    path: str
    low: float = 0
    high: float = 0
    step: float | None = None
    whole: bool = False
    log: bool = False
    choices: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def make_distribution(self, optuna: Any) -> Any:
        """The same for Optuna."""
        kinds = optuna.distributions
        if self.choices:
            return kinds.CategoricalDistribution(self.choices)
        if self.whole:
            return kinds.IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return kinds.FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def count_values(self) -> int | None:
        """How many values there are; None if they cannot be counted."""
        if self.choices:
            return len(self.choices)
        return round((self.high - self.low) / self.step) + 1 if self.step else None

    def list_values(self) -> list[Any]:
        """All values, where they can be counted."""
        step, number = self.step or 0, self.count_values() or 0
        return list(self.choices) or [self.settle(self.low + place * step) for place in range(number)]

    def settle(self, value: Any) -> Any:
        """A proposed number with few digits, and inside the space."""
        if self.choices or self.whole:
            return value
        short = round(value, 10) if self.step else float(f"{value:.{DIGITS}g}")
        return min(max(short, self.low), self.high)

    def find_param(self, value: Any) -> Any:
        """What a run's value of this key is in the space; None if it lies outside."""
        if self.choices:
            same = (text for text, each in zip(self.choices, self.values, strict=True) if each == value)
            return next(same, None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        if self.whole and value != int(value):
            return None
        steps = (value - self.low) / self.step if self.step else 0.0
        return None if abs(steps - round(steps)) > 1e-6 else int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Space:
    """The keys that a search chooses, those of config groups first: a value that a file sets does not replace them."""

    dimensions: tuple[Dimension, ...]
    groups: frozenset[str] = frozenset()  # the paths of those that are config groups

    def write(self, params: Params) -> dict[str, str]:
        """The overrides that choose these values, by key as an override names it."""
        return {each.key: f"{each.key}={params[each.key]}" for each in self.dimensions}

    def find_params(self, config: DictConfig, choices: Params) -> dict[str, Any] | None:
        """What a run has for each key; None if one lies outside.

        Args:
            config: the run's own.
            choices: of the groups, which no config names.
        """
        found: dict[str, Any] = {}
        for each in self.dimensions:
            if each.path in self.groups:
                found[each.key] = choices[each.key]
                continue
            value = OmegaConf.select(config, each.path)
            if isinstance(value, DictConfig | ListConfig):
                value = OmegaConf.to_container(value)
            found[each.key] = each.find_param(value)
        return None if None in found.values() else found

    def count_points(self) -> int | None:
        """How many points there are; None if they cannot be counted."""
        numbers = [each.count_values() for each in self.dimensions]
        return None if None in numbers else math.prod(filter(None, numbers))


def read_space(overrides: Iterable[Override], groups: Iterable[str]) -> tuple[list[str], Space]:
    """The space that sweeping overrides describe, and what is wrong with them; of two of one key the last counts.

    Args:
        groups: the keys that are config groups.
    """
    groups = frozenset(groups)
    problems: list[str] = []
    dimensions: dict[str, Dimension] = {}
    for override in overrides:
        dimensions.pop(override.get_key_element(), None)
        if not override.is_sweep_override():
            continue
        found = _read(override)
        if isinstance(found, str):
            problems.append(f"{override.input_line}: {found}")
        else:
            dimensions[found.key] = found
    ordered = sorted(dimensions.values(), key=lambda each: each.path not in groups)
    return problems, Space(tuple(ordered), groups)


def _read(override: Override) -> Dimension | str:
    key, path, sweep = override.get_key_element(), override.key_or_group, override.value()
    tags = {str(tag) for tag in getattr(sweep, "tags", ())}
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        whole = INT in tags or (isinstance(sweep.start, int) and isinstance(sweep.end, int))
        if not sweep.start < sweep.end:
            return "an interval goes from a number to a larger one"
        if LOG in tags and sweep.start <= 0:
            return "an interval by orders of magnitude (log) begins above 0"
        low, high = (int(sweep.start), int(sweep.end)) if whole else (sweep.start, sweep.end)
        return Dimension(key, path, low, high, 1 if whole else None, whole, LOG in tags)
    if isinstance(sweep, RangeSweep):
        numbers: Sequence[float] = sorted(sweep)
        whole = all(isinstance(each, int) for each in numbers)
        if len(numbers) > 1 and not sweep.transformers:
            step = abs(numbers[1] - numbers[0])
            return Dimension(key, path, numbers[0], numbers[-1], step, whole, LOG in tags and step == 1)
    choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
    parser = OverridesParser.create()
    return Dimension(
        key,
        path,
        choices=choices,
        values=tuple(parser.parse_override(f"x={choice}").value() for choice in choices),
    )
