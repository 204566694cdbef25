"""Whether a run is to go on: after each epoch it is compared with its siblings at that epoch, by Optuna's pruners.

Siblings are the complete runs of the study with the same data and strategy, and as many epochs in the phase, that
differ in more than the seed. A strategy is not pruned by another one, and no repeat by another of the same settings:
that would flatter their mean.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from headstart.config.ranges import PRUNING_RULES
from headstart.config.selection import LOSS
from headstart.config.words import count
from headstart.errors import UserError
from headstart.search.extra import import_optuna
from headstart.search.trials import LOADER
from headstart.storage import records
from headstart.storage.identity import compute_identity
from headstart.storage.study_state import is_run

FEWEST = 4  # siblings that must have come as far
GRACE = 0.25  # the share of a phase's epochs in which nothing is pruned: slow starters may catch up
PERCENT = {"median": 50, "quartile": 75}  # of the siblings, how many per cent a run has to be among
# What makes two runs answers to one question; sizes of images and batches are settings.
SAME_DATA = (
    *("name", "source", "train_per_class", "train_fraction", "n_train", "n_test", "val_fraction", "test_fraction"),
    *("group", "folds"),
)


@dataclass(frozen=True)
class Verdict:
    """Why a run was pruned.

    Attributes:
        score: its own best so far of `metric`.
        limit: what it would have needed.
        siblings: how many had come as far.
    """

    rule: str
    phase: str
    epoch: int
    epochs: int
    metric: str
    score: float
    limit: float
    siblings: int

    def __str__(self) -> str:
        metric = self.metric.replace("_", " ").replace("val", "validation")
        which = "median" if self.rule == "median" else "worst quarter"
        score, limit = (f"{x:.3f}" if self.metric == LOSS else f"{100 * x:.1f} %" for x in (self.score, self.limit))
        return (
            f"pruned after epoch {self.epoch} of {self.epochs} of phase {self.phase} (prune={self.rule}): its best "
            f"{metric} so far is {score}, and the {which} of {count(self.siblings, 'sibling')} at that epoch is {limit}"
        )


class Pruner:
    """Compares a phase of a run with the same phase of its siblings.

    Args:
        rule: one of `headstart.config.ranges.PRUNING_RULES`.
        config: the run's own, in plain values.
        select: by which score the best epoch is chosen; scores by class are not in metrics.csv: accuracy stands in.
    """

    def __init__(self, rule: str, folder: Path, config: Mapping[str, Any], phase: str) -> None:
        assert rule in PRUNING_RULES
        self.rule, self.folder, self.config, self.phase = rule, folder, config, phase
        self.metric = LOSS if config["select"] == LOSS else "val_accuracy"
        self.epochs = int(config["strategy"]["phases"][phase]["epochs"])
        self._known: dict[Path, dict[int, float] | None] = {}

    def judge(self, epoch: int) -> Verdict | None:
        """Whether to prune after an epoch of the phase, counted from 1; None: the run goes on."""
        if epoch >= self.epochs:
            return None
        siblings = [curve for curve in self._read_siblings() if epoch in curve]
        if len(siblings) < FEWEST:
            return None
        optuna = import_optuna(f"prune={self.rule}")
        down = self.metric == LOSS
        pruner = optuna.pruners.PercentilePruner(
            PERCENT[self.rule], n_startup_trials=FEWEST, n_warmup_steps=max(1, round(GRACE * self.epochs))
        )
        study = optuna.create_study(direction="minimize" if down else "maximize", pruner=pruner)
        for curve in siblings:
            made = optuna.trial.create_trial(value=curve[max(curve)], intermediate_values=curve)
            study.add_trial(made)
        trial, best = study.ask(), min if down else max
        own = {step: value for step, value in read_phase(self.folder, self.phase, self.metric).items() if step <= epoch}
        for step, value in own.items():
            trial.report(value, step)
        if epoch not in own or not trial.should_prune():
            return None
        limit = _find_limit([curve[epoch] for curve in siblings], PERCENT[self.rule], down)
        score = best(own.values())
        return Verdict(self.rule, self.phase, epoch, self.epochs, self.metric, score, limit, len(siblings))

    def _read_siblings(self) -> list[dict[int, float]]:
        """The curves of the complete siblings."""
        for path in sorted(self.folder.parent.iterdir()):
            if path != self.folder and path not in self._known and is_run(path) and records.is_completed(path):
                sibling = _is_sibling(self.config, _read_config(path), self.phase)
                self._known[path] = read_phase(path, self.phase, self.metric) if sibling else None
        return [curve for curve in self._known.values() if curve]


def record(verdict: Verdict) -> dict[str, Any]:
    """What `state.json` says of a pruned run."""
    return asdict(verdict) | {"text": str(verdict)}


def read_phase(folder: Path, phase: str, metric: str) -> dict[int, float]:
    """A score after each epoch of a phase, counted from 1, as metrics.csv has it."""
    found: dict[int, float] = {}
    with suppress(OSError, csv.Error), (folder / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            with suppress(ValueError, TypeError, KeyError):
                if row["phase"] == phase:
                    found[int(row["epoch"])] = float(row[metric])
    return found


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
