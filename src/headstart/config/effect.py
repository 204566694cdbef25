"""Settings that have no effect on a run, as its phases show: they make no other run, and `compare` shows "–" for them.

What a setting can change is decided in `headstart.strategy.route` and `headstart.training`; a setting stands here only
where it reaches none of that code. `tests/config/test_effect.py` trains with both values and compares all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.config.schema import AugmentConfig, is_random, mixes
from headstart.config.selection import BY_CLASS

Config = Mapping[str, Any]
NO_EFFECT = "–"  # what `compare` shows in place of such a value
UNSMOOTHED = ("headstart.probe.Ridge", "headstart.probe.NearestNeighbours")  # they fit the labels as they are


def _fits_head(phase: Config, _: Config) -> bool:
    return phase.get("probe") is not None


def _chooses_as_its_probe(phase: Config, config: Config) -> bool:
    return _fits_head(phase, config) and config.get("select") not in BY_CLASS


def _takes_own_rate(phase: Config, config: Config) -> bool:
    return _fits_head(phase, config) or phase.get("lr") is not None


def _takes_own_decay(phase: Config, config: Config) -> bool:
    return _fits_head(phase, config) or phase.get("weight_decay") is not None


def _sees_no_augmentation(phase: Config, config: Config) -> bool:
    return not phase.get("views") and (_fits_head(phase, config) or phase.get("augment") is False)


def _smooths_no_labels(phase: Config, config: Config) -> bool:
    return _fits_head(phase, config) and phase["probe"].get("_target_") in UNSMOOTHED


def _keeps_no_features(phase: Config, config: Config) -> bool:
    if _fits_head(phase, config):
        return False
    augment = AugmentConfig(**config["augment"])
    augmented = phase.get("augment") is not False and (is_random(augment) or mixes(augment))
    return phase.get("cache") is False or (augmented and phase.get("views") is None)


@dataclass(frozen=True)
class Rule:
    """Keys that have no effect on a run if `holds` is true of each of its phases.

    Attributes:
        instead: by key, what counts in the identity in place of the value: the defaults in conf/, so that runs with
            these keep the identity that they had before there were rules.
    """

    holds: Callable[[Config, Config], bool]
    instead: Mapping[str, Any]


RULES = (
    Rule(
        _fits_head,
        {
            "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001, "weight_decay": 0.01},
            "scheduler": {"sched": "cosine", "warmup_epochs": 0, "warmup_lr": 0.0, "min_lr": 0.0},
            "epochs": 20,
            "patience": None,
            "data.batch_size": 32,
            "hardware.accumulate": 1,
            "hardware.clip": None,
            "hardware.compile": False,
        },
    ),
    Rule(_chooses_as_its_probe, {"select": "val_accuracy"}),
    Rule(_takes_own_rate, {"optimizer.lr": 0.001}),
    Rule(_takes_own_decay, {"optimizer.weight_decay": 0.01}),
    Rule(
        _sees_no_augmentation,
        {
            "augment.crop_scale": [0.7, 1.0],
            "augment.crop_ratio": [0.8, 1.25],
            "augment.flip": "${data.flip}",
            "augment.rotation": 0.0,
            "augment.color_jitter": 0.0,
            "augment.erasing": 0.0,
            "augment.mixup": 0.0,
            "augment.cutmix": 0.0,
        },
    ),
    Rule(_smooths_no_labels, {"label_smoothing": 0.0}),
    Rule(_keeps_no_features, {"features.dtype": "auto"}),
)


def find_keys_without_effect(config: Config) -> dict[str, Any]:
    """Find the keys of a resolved config (plain containers) that have no effect, and what counts in their place."""
    phases = list(config["strategy"]["phases"].values())
    found = [rule for rule in RULES if phases and all(rule.holds(phase, config) for phase in phases)]
    return {key: value for rule in found for key, value in rule.instead.items()}


def replace_what_has_no_effect(config: Config) -> dict[str, Any]:
    """A copy of a resolved config that is the same for all configs whose differences have no effect."""
    result = dict(config)
    for key, value in find_keys_without_effect(config).items():
        *path, name = key.split(".")
        node = result
        for part in path:
            node[part] = node = dict(node[part])
        node[name] = config["data"].get("flip") if value == "${data.flip}" else value
    return result


def list_values_without_effect(config: Config) -> dict[str, Any]:
    """The values that have no effect, by dotted key: `optimizer` stands for each of its keys."""
    return {
        name: value for key in find_keys_without_effect(config) for name, value in _list_values(_get(config, key), key)
    }


def _get(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _list_values(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        yield key, node
        return
    for name, value in node.items():
        yield from _list_values(value, f"{key}.{name}")


def describe_same_run(config: Config, stored: Config, strategy: str) -> str | None:
    """Say which settings differ between a run's config and the one that it was made with; None if none does.

    Both are the same run, because these settings have no effect.
    """
    ours, theirs = list_values_without_effect(config), list_values_without_effect(stored)
    names = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if not names:
        return None
    pairs = ", ".join(f"{key}={ours.get(key)} (there: {theirs.get(key)})" for key in names)
    verb = "has" if len(names) == 1 else "have"
    return f"it is the same run, because {pairs} {verb} no effect on strategy={strategy}"
