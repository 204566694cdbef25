"""A rate, length or regularisation of one strategy is chosen on validation scores; the chosen row alone is compared.

Of rows that differ in such settings alone, the test scores of all would be looked at and the best of them picked: that
flatters a strategy the more, the more settings it was given. Which settings these are:

* `SETTINGS`: numbers of how a strategy is trained, anywhere below these keys. What a strategy *is* (its phases, what
  learns, its rates by depth, the kind of head or optimizer, augmentation), the network and the data are compared.
* A key that the study asks about is compared too: one that its `figures` name under `by`, `x`, `split` or `label`, and
  one that is kept by `headstart compare --keep KEY`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from headstart.errors import UserError, did_you_mean
from headstart.report.study.groups import Comparison, Group, natural, plain, stat
from headstart.report.study.read import Run
from headstart.report.study.varying import differs, follows_seed, is_ignored, split_by

SETTINGS = (
    *("optimizer", "scheduler", "epochs", "patience", "label_smoothing", "data.batch_size"),
    *("hardware.accumulate", "hardware.clip"),
    *(f"strategy.phases.*.{name}" for name in ("epochs", "lr", "weight_decay", "penalty", "average", "probe")),
)
KIND = "_target_"  # logistic or ridge, Adam or SGD: another method, not another setting of one
QUESTIONS = ("by", "x", "split", "label")  # what a figure calls the keys that it looks at


@dataclass(frozen=True)
class Choice:
    """Rows that differ in settings alone: the one with the best validation score, and the others, best first.

    `repeats` are the seeds over which they are compared, `scores` the means over these, the chosen row's first.
    """

    chosen: Group
    others: list[Group]
    scores: list[float]
    repeats: int

    @property
    def rows(self) -> list[Group]:
        """All of them, the chosen one first."""
        return [self.chosen, *self.others]


def choose_settings(comparison: Comparison, keep: Sequence[str] = ()) -> tuple[Comparison, list[Choice]]:
    """Leave the chosen row of each strategy in a comparison; rows without validation scores all stay.

    Args:
        keep: keys that are compared although they are settings; `optimizer` stands for all keys below it.

    Raises:
        UserError: the rows of this study do not differ in such a key.
    """
    kept = [*_check_kept(comparison, keep), *_keys_of_figures(comparison.study.runs)]
    found = [_choose(rows, comparison) for rows in _differing_in_settings(comparison, kept)]
    choices = [choice for choice in found if choice is not None]
    folded = {id(row) for choice in choices for row in choice.others}
    return replace(comparison, groups=[row for row in comparison.groups if id(row) not in folded]), choices


def is_setting(key: str) -> bool:
    """Whether a config key is a setting of a strategy."""
    return not key.endswith(KIND) and any(
        re.fullmatch(name.replace(".", r"\.").replace("*", r"[^.]+") + r"(\..*)?", key) for name in SETTINGS
    )


def _check_kept(comparison: Comparison, keep: Sequence[str]) -> Sequence[str]:
    for name in keep:
        known = sorted({key for row in comparison.groups for key in row.runs[0].config or {} if is_setting(key)})
        if not any(_is_below(key, name) for key in known):
            hint = did_you_mean(name, known, " Did you mean {}?")
            raise UserError(f"--keep {name}: no setting of this study's runs is called so.{hint}")
    return keep


def _is_below(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _keys_of_figures(runs: Iterable[Run]) -> set[str]:
    """The keys that the figures of a study name."""
    found: set[str] = set()
    for run in runs:
        for key, text in (run.config or {}).items():
            if key.startswith("figures.") and key.rpartition(".")[2] in QUESTIONS and isinstance(text, str):
                names = json.loads(text) if text.startswith("[") else [text]
                found.update(map(str, names))
    return found


def _differing_in_settings(comparison: Comparison, kept: Sequence[str]) -> list[list[Group]]:
    """The rows of equal network, strategy, data and whatever else is compared, where there are several."""
    found: list[list[Group]] = []
    for cell in split_by(comparison.groups, lambda row: (row.model, row.strategy, row.data)):
        runs = [run for row in cell for run in row.runs]
        if any(run.config is None for run in runs):
            continue
        keys = {key for run in runs for key in run.config or {} if not is_ignored(key) and differs(runs, key)}
        asked = sorted(
            key
            for key in keys
            if not follows_seed(runs, key)
            and (not is_setting(key) or any(_is_below(key, name) or _is_below(name, key) for name in kept))
        )
        found += [rows for rows in split_by(cell, partial(_list_values, asked)) if len(rows) > 1]
    return found


def _list_values(keys: Sequence[str], row: Group) -> tuple[str, ...]:
    return tuple(plain((row.runs[0].config or {}).get(key)) for key in keys)


def _choose(rows: list[Group], comparison: Comparison) -> Choice | None:
    """The row with the best mean validation score over the seeds that all have, of equal ones that of lower NLL."""
    metric = comparison.metric
    common = set.intersection(*({run.repeat for run in row.runs} for row in rows))

    def mean(row: Group, name: str) -> float | None:
        runs = [run for run in row.runs if run.repeat in common or not common]
        found = stat([run.number(f"val.{name}") for run in runs])
        return None if found is None else found.mean

    scores = {id(row): mean(row, metric.name) for row in rows}
    if any(score is None for score in scores.values()):
        return None

    def rank(row: Group) -> tuple[Any, ...]:
        score, loss = scores[id(row)], mean(row, "nll")
        assert score is not None
        return (-round(metric.merit(score), 9), float("inf") if loss is None else loss, natural(*row.keys.values()))

    ordered = sorted(rows, key=rank)
    return Choice(ordered[0], ordered[1:], [float(scores[id(row)] or 0.0) for row in ordered], len(common))


def describe_choice(comparison: Comparison, choice: Choice) -> str:
    """What was chosen, in words."""
    name, metric = comparison.label(choice.chosen), comparison.metric
    over = f"over {choice.repeats} common seeds" if choice.repeats > 1 else "of one common seed"
    if not choice.repeats:
        over = "over each one's own seeds"
    return (
        f"{name} is chosen among {len(choice.rows)} settings by validation {metric.title}"
        f" ({metric.text(choice.scores[0])} {over}); the test scores of the others are not compared."
    )


def record_choice(comparison: Comparison, choice: Choice) -> dict[str, Any]:
    """A choice as plain values: each row's settings, its validation score, its test score, and whether it is chosen."""
    return {
        "row": comparison.label(choice.chosen),
        "metric": comparison.metric.name,
        "seeds": choice.repeats,
        "settings": [
            {"row": comparison.label(row), "chosen": row is choice.chosen, "val": score, "test": row.score.mean}
            for row, score in zip(choice.rows, choice.scores, strict=True)
        ],
    }
