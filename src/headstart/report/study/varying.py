"""Which config keys tell a study's rows apart."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from headstart.config.effect import NO_EFFECT
from headstart.report.study.read import Run
from headstart.storage.identity import IRRELEVANT

T = TypeVar("T")
# What tells no rows apart: the seed, the fold, and what the run's identity leaves out.
IGNORED = ("seed", "data.fold", *IRRELEVANT)
# What makes two rows answers to different questions, so that no best one is picked across them.
TASK_KEYS = ("train_per_class", "train_fraction", "n_train", "n_test", "test_fraction", "group", "folds", "source")


def is_task_key(key: str) -> bool:
    """Whether a config key changes the question (data, its size), not the answer (model, strategy, settings)."""
    parts = key.split(".")
    return parts[0] == "data" and len(parts) > 1 and parts[1] in TASK_KEYS


def is_ignored(key: str) -> bool:
    """Whether a config key cannot change a result, or only names it."""
    named = any(key == name or key.startswith(f"{name}.") for name in IGNORED)
    return named or "hash" in key or "digest" in key


def differs(runs: Iterable[Run], key: str) -> bool:
    """Whether a config key has more than one value among the runs on which it has an effect; absent, it is null."""
    return len({run.config.get(key) for run in runs if run.config is not None} - {NO_EFFECT}) > 1


def follows_seed(runs: Iterable[Run], key: str) -> bool:
    """Whether a key is but another name of the seed, such as `data.split_seed=${seed}`."""
    values = [(run.config[key], run.seed) for run in runs if run.config is not None and key in run.config]
    return "seed" in key.rsplit(".", 1)[-1] and all(value == seed for value, seed in values)


def split_by(things: Iterable[T], key: Callable[[T], tuple[Any, ...]]) -> list[list[T]]:
    """Runs or rows with equal keys together, in the order of their first appearance."""
    found: dict[tuple[Any, ...], list[T]] = defaultdict(list)
    for thing in things:
        found[key(thing)].append(thing)
    return list(found.values())


def varying(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The config keys that split rows, and those that merely change along with them.

    A key splits rows when it differs between runs of equal model, strategy and data, or, for the cut of the
    data, between runs of equal data. Of keys with equal values one is kept. What a model's, strategy's or
    data's name settles is neither; nor are the weights that a run from scratch does not use.
    """
    cells = split_by(runs, lambda run: (run.model, run.strategy, run.data))
    sources = split_by(runs, lambda run: (run.data,))
    columns: dict[tuple[Any, ...], str] = {}
    along: list[str] = []
    names = sorted({key for run in runs for key in run.config or {}}, key=lambda key: (key.count("."), key))
    for key in names:
        if is_ignored(key) or follows_seed(runs, key) or not differs(runs, key):
            continue
        if any(differs(part, key) for part in [*cells, *(sources if is_task_key(key) else [])]):
            columns.setdefault(tuple((run.config or {}).get(key) for run in runs), key)
        elif not _is_implied(runs, key):
            along.append(key)
    return sorted(columns.values()), along


def _is_implied(runs: Sequence[Run], key: str) -> bool:
    """Whether the name of a key's own group (model, strategy, data) implies its value."""
    owner = key.split(".")[0]
    if owner not in ("model", "strategy", "data"):
        return False
    using = [run for run in runs if key != "model.weights" or not run.from_scratch]
    return not any(differs(part, key) for part in split_by(using, lambda run: (getattr(run, owner),)))
