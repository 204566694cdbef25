"""The trials of a search, from the folders of a study's runs: there is no other record of them.

A run is a trial if the search's own config, with the run's values for the keys of the space, is that of the run. So the
completed runs of a grid are trials too.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config.schema import FIND, RunConfig, to_plain
from headstart.errors import UserError
from headstart.search.objective import Objective
from headstart.search.space import Params, Space
from headstart.storage import records
from headstart.storage.identity import compute_identity
from headstart.storage.journal import PRUNED as PRUNED_RUN
from headstart.storage.study_state import RunState, is_run, read_run

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
COMPLETE, PRUNED, RUNNING, UNFINISHED, WITHOUT_VALUE = "complete", "pruned", "running", "unfinished", "without a value"
TUNED = ("memory_format", "precision", "compile")  # what hardware.tune chooses


@dataclass(frozen=True)
class Trial:
    """A run that is a point of the space.

    Attributes:
        number: the search's own number, from 0; None for a run that a grid or a single command made.
        state: of these only `complete` has values; what is unfinished is to be gone on with.
        curve: of a pruned run, the first objective after each epoch.
    """

    name: str
    number: int | None
    state: str
    params: Params
    values: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)


class TrialReader:
    """Reads the trials of a study's folder; what a finished run says is read once.

    Args:
        read_config: the config of the search with these values, every `auto` resolved as a run does; None if it is not
            valid.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        objectives: Sequence[Objective],
        read_config: Callable[[Params], RunConfig | None],
    ) -> None:
        self.folder, self.space, self.objectives, self.read_config = folder, space, objectives, read_config
        self._points: dict[tuple[Path, int], tuple[int | None, Params] | None] = {}
        self._finished: dict[tuple[Path, int], Trial] = {}

    def read(self) -> list[Trial]:
        """The trials that are there now: those of grids by name, then those of the search by number."""
        found = [trial for path in self._list_runs() if (trial := self._read_trial(path)) is not None]
        return sorted(found, key=lambda trial: (trial.number is not None, trial.number or 0, trial.name))

    def _list_runs(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from sorted(path for path in self.folder.iterdir() if is_run(path))

    def _read_trial(self, path: Path) -> Trial | None:
        written = _find_time(path / "config.yaml")
        point = self._points.get((path, written), ())
        if point == ():
            point = self._points[path, written] = self._find_point(path)
        if not point:
            return None
        number, params = point
        ended = path, _find_time(path / "state.json")
        if ended not in self._finished:
            trial = make_trial(read_run(path), number, params, self.objectives)
            if trial is None or trial.state not in (COMPLETE, PRUNED, WITHOUT_VALUE):
                return trial
            self._finished[ended] = trial
        return self._finished[ended]

    def _find_point(self, path: Path) -> tuple[int | None, Params] | None:
        """The number and the values of a run that is a trial of this search."""
        with suppress(OSError, ValueError, LookupError, TypeError, yaml.YAMLError, UserError, OmegaConfBaseException):
            kept = yaml.load((path / "config.yaml").read_text("utf-8"), Loader=LOADER)
            config, asked = OmegaConf.create(kept), read_overrides(path)
            for choices in self._list_choices(asked):
                params = self.space.find_params(config, choices)
                composed = None if params is None else self.read_config(params)
                if composed is not None and is_same_run(composed, kept):
                    assert params is not None
                    return kept.get("trial"), params
        return None

    def _list_choices(self, asked: Mapping[str, str]) -> Iterator[Params]:
        """The choices of config groups that a run may have been made with, those of its overrides first."""
        groups = [each for each in self.space.dimensions if each.path in self.space.groups]
        axes = [
            [*(text for text in each.choices if asked.get(each.key) == text), *each.choices] for each in groups
        ]  # the second time that a choice comes it fits as little as the first time
        for chosen in itertools.product(*axes):
            yield {each.key: choice for each, choice in zip(groups, chosen, strict=True)}


def make_trial(run: RunState, number: int | None, params: Params, objectives: Sequence[Objective]) -> Trial | None:
    """The trial that a run is; None for what another command has not finished: that goes on with it."""
    name = run.folder.name
    if run.state == PRUNED_RUN:
        return Trial(name, number, PRUNED, params, curve=read_curve(run.folder))
    if run.state == "complete":
        result: Mapping[str, Any] = records.read_result(run.folder) or {}
        values = [each.read(result) for each in objectives]
        known = tuple(value for value in values if value is not None)
        if len(known) < len(values):
            return Trial(name, number, WITHOUT_VALUE, params)
        return Trial(name, number, COMPLETE, params, known)
    if number is None:
        return None
    return Trial(name, number, RUNNING if run.state == "running" else UNFINISHED, params)


def is_same_run(config: RunConfig, kept: Mapping[str, Any]) -> bool:
    """Whether a run was made with a config, whose `auto`s are resolved, but for the content of data and weights.

    Args:
        kept: the run's own config; also for what only a run finds out.
    """
    plain = to_plain(config)
    if config.hardware.tune:
        plain["hardware"] |= {name: kept["hardware"][name] for name in TUNED}
    if config.learning_rate == FIND:
        plain["optimizer"]["lr"] = kept["optimizer"]["lr"]
    if config.data.resize == "auto":
        plain["data"]["resize"] = kept["data"]["resize"]
    return compute_identity(plain, {}) == compute_identity(kept, {})


def read_curve(folder: Path) -> dict[int, float]:
    """The validation accuracy after each epoch of all phases, counted from 1."""
    found: dict[int, float] = {}
    with suppress(OSError, csv.Error), (folder / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), 1):
            with suppress(ValueError, TypeError):
                found[number] = float(row["val_accuracy"])
    return found


def add_claims(trials: Sequence[Trial], claims: Mapping[int, Params]) -> list[Trial]:
    """The trials, and those that other launches have begun and that have no folder yet."""
    known = {trial.number for trial in trials}
    claimed = [replace(trial, state=RUNNING) if trial.number in claims else trial for trial in trials]
    new = [Trial("", number, RUNNING, params) for number, params in claims.items() if number not in known]
    return [*claimed, *new]


def read_overrides(path: Path) -> dict[str, str]:
    """The overrides that a run was made with, by key."""
    with suppress(OSError, ValueError, yaml.YAMLError):
        lines = yaml.load((path / "overrides.yaml").read_text("utf-8"), Loader=LOADER)
        return {key: value for key, _, value in (str(line).partition("=") for line in lines or ())}
    return {}


def _find_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
