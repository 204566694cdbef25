"""Whether a run is to go on: after each epoch it is compared with its siblings at that epoch, by Optuna's pruners.

Siblings are the runs of the study with the same data and strategy, and as many epochs in the phase, that are complete
or were pruned, and that differ in more than the seed. A strategy is not pruned by another one, and no repeat by another
of the same settings: that would flatter their mean.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from headstart.config.ranges import PRUNING_RULES
from headstart.config.selection import ACCURACY, LOSS
from headstart.config.words import count
from headstart.errors import UserError
from headstart.search.extra import import_optuna
from headstart.search.trials import LOADER
from headstart.storage import records
from headstart.storage.identity import compute_identity
from headstart.storage.journal import PRUNED
from headstart.storage.study_state import is_run

Curve = dict[int, float]  # a score after each epoch

METRICS = (ACCURACY, LOSS)
FEWEST = 4  # siblings that must have come as far
GRACE = 0.25  # the share of a phase's epochs in which nothing is pruned: slow starters may catch up
PERCENT = {"median": 50, "quartile": 75}  # of the siblings, how many per cent a run has to be among
# What makes two runs answers to one question; sizes of images and batches are settings.
SAME_DATA = (
    *("name", "source", "train_per_class", "train_fraction", "n_train", "n_test", "val_fraction", "test_fraction"),
    *("group", "folds"),
)


@dataclass(frozen=True)
class Comparison:
    """One score of a run against its siblings after an epoch: `score` is its best so far, `limit` the siblings'."""

    metric: str
    score: float
    limit: float


@dataclass(frozen=True)
class Verdict:
    """Why a run was pruned.

    Attributes:
        siblings: how many had come as far.
        scores: those by which it was compared; none is better than its limit.
    """

    rule: str
    phase: str
    epoch: int
    epochs: int
    siblings: int
    scores: tuple[Comparison, ...]

    @property
    def accuracy(self) -> float:
        """The best on validation images so far."""
        return next(each.score for each in self.scores if each.metric == ACCURACY)

    def __str__(self) -> str:
        which = "median" if self.rule == "median" else "worst quarter"
        names = [each.metric.replace("_", " ").replace("val", "validation") for each in self.scores]
        scores = [_show(each.metric, each.score) for each in self.scores]
        limits = " and ".join(_show(each.metric, each.limit) for each in self.scores)
        own = " and its best ".join(f"{name} is {score}" for name, score in zip(names, scores, strict=True))
        return (
            f"pruned after epoch {self.epoch} of {self.epochs} of phase {self.phase} (prune={self.rule}): its best "
            f"{own}; the {which} of {count(self.siblings, 'sibling')} at that epoch is {limits}"
        )


class Pruner:
    """Compares a phase of a run with the same phase of its siblings.

    A run is pruned if neither its best accuracy nor its best loss is better than the siblings'. One score alone would
    prune good runs: an accuracy on few validation images has much noise, and a loss says little of runs that differ in
    how sure they are of their answers.

    Args:
        rule: one of `headstart.config.ranges.PRUNING_RULES`.
        config: the run's own, in plain values.
    """

    def __init__(self, rule: str, folder: Path, config: Mapping[str, Any], phase: str) -> None:
        assert rule in PRUNING_RULES
        self.rule, self.folder, self.config, self.phase = rule, folder, config, phase
        self.epochs = int(config["strategy"]["phases"][phase]["epochs"])
        self._known: dict[Path, dict[str, Curve]] = {}

    def judge(self, epoch: int) -> Verdict | None:
        """Whether to prune after an epoch of the phase, counted from 1; None: the run goes on."""
        if epoch >= self.epochs:
            return None
        own = read_phase(self.folder, self.phase)
        siblings = [curves for curves in self._read_siblings() if all(epoch in curves[metric] for metric in METRICS)]
        if len(siblings) < FEWEST or any(epoch not in own[metric] for metric in METRICS):
            return None
        behind = []
        for metric in METRICS:
            comparison = self._compare(metric, epoch, own[metric], [each[metric] for each in siblings])
            if comparison is None:
                return None
            behind.append(comparison)
        return Verdict(self.rule, self.phase, epoch, self.epochs, len(siblings), tuple(behind))

    def _compare(self, metric: str, epoch: int, own: Curve, siblings: Sequence[Curve]) -> Comparison | None:
        """Ask Optuna's pruner whether the run is behind by one score; None: it is not."""
        optuna = import_optuna(f"prune={self.rule}")
        down = metric == LOSS
        pruner = optuna.pruners.PercentilePruner(
            PERCENT[self.rule], n_startup_trials=FEWEST, n_warmup_steps=max(1, round(GRACE * self.epochs))
        )
        study = optuna.create_study(direction="minimize" if down else "maximize", pruner=pruner)
        for curve in siblings:
            study.add_trial(optuna.trial.create_trial(value=curve[max(curve)], intermediate_values=curve))
        trial = study.ask()
        reached = {step: value for step, value in own.items() if step <= epoch}
        for step, value in reached.items():
            # Optuna prunes what is worse; what equals the limit is not better either
            trial.report(math.nextafter(value, math.inf if down else -math.inf), step)
        if not trial.should_prune():
            return None
        best = min if down else max
        limit = _find_limit([curve[epoch] for curve in siblings], PERCENT[self.rule], down)
        return Comparison(metric, best(reached.values()), limit)

    def _read_siblings(self) -> list[dict[str, Curve]]:
        """The curves of the siblings that ran to their end, or were pruned."""
        for path in sorted(self.folder.parent.iterdir()):
            if path != self.folder and path not in self._known and is_run(path) and _has_ended(path):
                sibling = _is_sibling(self.config, _read_config(path), self.phase)
                self._known[path] = read_phase(path, self.phase) if sibling else {}
        return [curves for curves in self._known.values() if curves]


def _show(metric: str, value: float) -> str:
    return f"{value:.3f}" if metric == LOSS else f"{100 * value:.1f} %"


def record(verdict: Verdict) -> dict[str, Any]:
    """What `state.json` says of a pruned run."""
    return asdict(verdict) | {"text": str(verdict)}


def read_phase(folder: Path, phase: str) -> dict[str, Curve]:
    """Each score of `METRICS` after each epoch of a phase, counted from 1, as metrics.csv has them."""
    found: dict[str, Curve] = {metric: {} for metric in METRICS}
    with suppress(OSError, csv.Error), (folder / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for metric in METRICS:
                with suppress(ValueError, TypeError, KeyError):
                    if row["phase"] == phase:
                        found[metric][int(row["epoch"])] = float(row[metric])
    return found


def _has_ended(folder: Path) -> bool:
    """Whether a run is complete or pruned.

    Pruned siblings count as far as they came: the median of the others alone would be that of the better half.
    """
    if records.is_completed(folder):
        return True
    with suppress(UserError):
        return records.read_state(folder).get("status") == PRUNED
    return False


def _read_config(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError, yaml.YAMLError):
        kept = yaml.load((path / "config.yaml").read_text("utf-8"), Loader=LOADER)
        return kept if isinstance(kept, dict) else {}
    return {}


def _is_sibling(mine: Mapping[str, Any], other: Mapping[str, Any], phase: str) -> bool:
    with suppress(LookupError, TypeError, AttributeError, UserError):
        same = [_describe_question(each, phase) for each in (mine, other)]
        settings = [compute_identity(_without_seed(each), {}) for each in (mine, other)]
        return same[0] == same[1] and settings[0] != settings[1]
    return False


def _describe_question(config: Mapping[str, Any], phase: str) -> str:
    data = {key: config["data"].get(key) for key in SAME_DATA}
    strategy = config["strategy"]
    return json.dumps(
        [data, strategy["name"], config["select"], list(strategy["phases"]), strategy["phases"][phase]["epochs"]],
        sort_keys=True,
        default=str,
    )


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "seed": 0, "data": {**config["data"], "split_seed": 0, "fold": None}}


def _find_limit(values: list[float], percent: int, down: bool) -> float:
    import numpy as np

    return float(np.percentile(values, percent if down else 100 - percent))
