"""Group a study's runs over seeds, and find which config keys tell its rows apart."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from headstart.config.effect import NO_EFFECT
from headstart.report.study.metric import Metric
from headstart.report.study.read import Run, Study
from headstart.report.study.varying import is_task_key, split_by, varying


@dataclass(frozen=True)
class Stat:
    """A mean over runs, its standard deviation and half-width of its 95 % interval (both None for one run)."""

    n: int
    mean: float
    std: float | None
    interval: float | None

    def ends(self, scale: float = 1.0) -> dict[str, float | None]:
        """The ends of the interval as `low` and `high`, multiplied by a scale; None for one run."""
        if self.interval is None:
            return {"low": None, "high": None}
        return {"low": scale * (self.mean - self.interval), "high": scale * (self.mean + self.interval)}


def stat(values: Sequence[float | None]) -> Stat | None:
    """Summarise values over seeds; None where there are none or any of them is missing."""
    known = [value for value in values if value is not None]
    return summarize(known) if known and len(known) == len(values) else None


def summarize(values: Sequence[float]) -> Stat:
    """Summarise one value or more over seeds with Student's t."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Stat(n, mean, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Stat(n, mean, std, student_t(n - 1) * std / math.sqrt(n))


@cache
def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; cached, as a call takes 0.05 ms and a report needs one for every mean."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


@dataclass(frozen=True)
class Group:
    """The runs that differ in nothing but the seed and the fold; `keys` holds the values of the study's varying config
    keys.
    """

    model: str
    strategy: str
    data: str
    keys: dict[str, Any]
    runs: list[Run]

    @cached_property
    def accuracy(self) -> Stat:
        """Test accuracy over the group's runs."""
        return summarize([run.accuracy for run in self.runs])

    @property
    def metric(self) -> Metric:
        """What the study is compared by."""
        return self.runs[0].metric

    @cached_property
    def score(self) -> Stat:
        """The metric over the group's runs."""
        return summarize([run.score for run in self.runs])

    @property
    def merit(self) -> float:
        """The mean of the metric, with its sign such that more is better: rows are ordered by it."""
        return self.metric.merit(self.score.mean)

    @property
    def from_scratch(self) -> bool:
        """Whether the group's weights started random."""
        return self.runs[0].from_scratch

    def over_runs(self, value: Callable[[Run], float | None]) -> Stat | None:
        """Summarise one number over the group's runs."""
        if value not in self._known:
            self._known[value] = stat([value(run) for run in self.runs])
        return self._known[value]

    @cached_property
    def _known(self) -> dict[Callable[[Run], float | None], Stat | None]:
        return {}


@dataclass(frozen=True)
class Comparison:
    """A study, grouped: its rows, the config keys that are columns, and those that change along with the rows."""

    study: Study
    groups: list[Group]
    keys: list[str]
    along: list[str]

    @property
    def metric(self) -> Metric:
        """What the rows are compared by."""
        return self.groups[0].metric

    def label(self, group: Group, within_task: bool = False) -> str:
        """What tells this row from the study's other rows (or from those of its own task), in a few words.

        The strategy is left out where all rows share it and something else tells them apart.
        """
        parts = [group.model] if self.several("model") else []
        if not within_task and self.several("data"):
            parts.append(group.data)
        cut = [f"{self.short(key)} {plain(group.keys[key])}" for key in self.keys if is_task_key(key)]
        parts = [part for part in [*parts, self.settings(group), *([] if within_task else cut)] if part]
        if self.several("strategy") or not parts:
            parts.insert(int(self.several("model")), group.strategy)
        return " · ".join(parts)

    def several(self, kind: str) -> bool:
        """Whether rows differ in their `model`, `strategy` or `data`."""
        return kind in self._several

    @cached_property
    def _several(self) -> set[str]:
        kinds = ("model", "strategy", "data")
        return {kind for kind in kinds if len({getattr(group, kind) for group in self.groups}) > 1}

    def settings(self, group: Group) -> str:
        """The row's values of the config keys that tell rows of one task apart, or an empty text; a key that its
        config does not have at all, such as another model's argument, or that has no effect on it, is left out.
        """
        config = group.runs[0].config
        keys = [key for key in self.keys if not is_task_key(key) and (config is None or key in config)]
        keys = [key for key in keys if group.keys[key] != NO_EFFECT]
        return " · ".join(f"{self.short(key)} {plain(group.keys[key])}" for key in keys)

    def short(self, key: str) -> str:
        """The shortest end of a dotted key that no other column shares."""
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        others = [other for other in self.keys if other != key]
        return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)

    def tasks(self) -> dict[str, list[Group]]:
        """The groups by task (data and its cut), each best score first; the key is the task's name."""
        return {task: list(rows) for task, rows in self._tasks.items()}

    @cached_property
    def _tasks(self) -> dict[str, list[Group]]:
        found: dict[str, list[Group]] = defaultdict(list)
        for group in sorted(self.groups, key=lambda group: natural(group.data, *group.keys.values())):
            cut = [f"{self.short(key)} {plain(group.keys[key])}" for key in self.keys if is_task_key(key)]
            found[", ".join([group.data, *cut])].append(group)
        return {task: sorted(rows, key=lambda row: -row.merit) for task, rows in found.items()}


def plain(value: Any) -> str:
    """A config value as a person writes it: short numbers, `none` for null."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def natural(*values: Any) -> tuple[tuple[int, float, str], ...]:
    """A sorting key under which numbers come by size, then texts, then nulls."""
    return tuple(
        (0, float(value), "")
        if isinstance(value, int | float)
        else (2, 0.0, "")
        if value is None
        else (1, 0.0, str(value))
        for value in values
    )


def compare(study: Study) -> Comparison:
    """Group a study's runs into rows, best accuracy first within each task."""
    keys, along = varying(study.runs)

    def identity(run: Run) -> tuple[Any, ...]:
        values = ["?" if run.config is None else run.config.get(key) for key in keys]
        return (run.model, run.strategy, run.data, *values)

    groups = []
    for rows in split_by(study.runs, identity):
        model, strategy, data, *values = identity(rows[0])
        seeds = sorted(rows, key=lambda run: (run.repeat, run.name))
        groups.append(Group(model, strategy, data, dict(zip(keys, values, strict=True)), seeds))
    unordered = Comparison(study, groups, keys, along)
    return Comparison(study, [group for task in unordered.tasks().values() for group in task], keys, along)
