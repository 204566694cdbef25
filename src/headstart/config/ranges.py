"""Which values a key may have, and the keys together that say how the images are split; nothing here imports torch."""

from collections.abc import Mapping
from typing import Any

from headstart.config.machine import ACCELERATORS, MEMORY_FORMATS, PRECISIONS
from headstart.config.selection import SELECTIONS

PRUNING_RULES = ("median", "quartile")
CHOICES = {
    "prune": ("none", *PRUNING_RULES),
    "strategy.start": ("pretrained", "scratch"),
    "keep": ("best", "all", "none"),
    "select": SELECTIONS,
    "class_weights": ("none", "balanced"),
    "data.on_bad_image": ("raise", "skip"),
    "data.resize": ("auto", "crop", "squash", "pad"),
    "data.sampling": ("uniform", "balanced"),
    "data.storage": ("auto", "memory", "stream"),
    "hardware.accelerator": ACCELERATORS,
    "hardware.precision": PRECISIONS,
    "hardware.memory_format": MEMORY_FORMATS,
    "features.dtype": ("auto", "float32", "bfloat16"),
    "features.storage": ("auto", "memory", "mapped"),
    "logger.mode": ("auto", "online", "offline"),
    "logger.artifacts": ("none", "model"),
}
# key: (lowest, highest), both allowed; None: no bound. Keys that may be null are skipped when they are.
RANGES: dict[str, tuple[float, float | None]] = {
    "seed": (0, 2**32 - 1),
    "epochs": (1, None),
    "label_smoothing": (0, 0.99),
    "patience": (1, None),
    "data.image_size": (8, 4096),
    "data.batch_size": (2, None),
    "data.train_per_class": (2, None),
    "data.n_train": (2, None),
    "data.n_test": (1, None),
    "data.folds": (2, 1000),
    "data.split_seed": (0, 2**32 - 1),
    "augment.rotation": (0, 180),
    "augment.color_jitter": (0, 1),
    "augment.erasing": (0, 1),
    "augment.mixup": (0, 10),
    "augment.cutmix": (0, 10),
    "hardware.devices": (-1, 4096),
    "hardware.nodes": (1, 4096),
    "checkpoint_every": (0, None),
    "hardware.accumulate": (1, None),
    "hardware.workers": (0, 256),
    "hardware.threads": (1, 1024),
}
HINTS = {"epochs": "; strategy=feature_extraction fits a head without epochs"}
ABOVE_ZERO = {
    "data.train_fraction": " and at most 1",
    "data.val_fraction": " and below 1",
    "data.test_fraction": " and below 1",
    "hardware.clip": "",
}

BUDGETS = ("train_per_class", "train_fraction", "n_train")


def describe_range(key: str) -> str | None:
    """Describe the choices or the range of a key's values, if it has any."""
    if key in CHOICES:
        return f"one of {', '.join(CHOICES[key])}"
    if key in RANGES:
        low, high = RANGES[key]
        return f"at least {low}" if high is None else f"from {low} to {high}"
    return f"above 0{ABOVE_ZERO[key]}" if key in ABOVE_ZERO else None


def find_range_problem(key: str, value: float | None) -> str | None:
    """What is wrong with the number that a key of `RANGES` or `ABOVE_ZERO` has, in words; None if nothing is."""
    if value is None:
        return None
    if key in RANGES:
        low, high = RANGES[key]
        allowed = low <= value and (high is None or value <= high)
    else:
        allowed = value > 0 and (not ABOVE_ZERO[key] or value < 1 or (value == 1 and "at most" in ABOVE_ZERO[key]))
    return None if allowed else f"{key}={value}: must be {describe_range(key)}{HINTS.get(key, '')}"


def find_budget_problem(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the keys of data that say how much to train on, in words; None if nothing is."""
    given = [name for name in BUDGETS if values[name] is not None]
    if len(given) < 2:
        return None
    return f"data: {' and '.join(given)} both say how much to train on; set one, the others to null"


def find_fold_problem(folds: int | None, fold: int | None) -> str | None:
    """What is wrong with data.folds and data.fold together, in words; None if nothing is."""
    if folds is None:
        return None if fold is None else f"data.fold={fold}: of how many? Set data.folds too, such as data.folds=5"
    numbers = ",".join(map(str, range(folds)))
    if fold is None:
        return (
            f"data.folds={folds}: data.fold says which of them is the test set, 0 … {folds - 1}; all of them: "
            f"headstart train -m data.folds={folds} data.fold={numbers}"
        )
    if not 0 <= fold < folds:
        return f"data.fold={fold}: with data.folds={folds} it must be from 0 to {folds - 1}"
    return None
