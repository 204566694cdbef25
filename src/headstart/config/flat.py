"""A run's config as dashboards filter and group by it: one level of keys without dots, the same for every run.

W&B cannot filter by keys with dots, and shows no runs for null: a value that is not set is a word.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from headstart.config.schema import RunConfig

# What people filter and group by has a short name; every other key is its path with _ for each dot.
SHORT = {
    "model.name": "model",
    "model.weights": "weights",
    "strategy.name": "strategy",
    "strategy.start": "start",
    "head.kind": "head",
    "data.name": "data",
    "data.train_per_class": "n_per_class",
    "data.n_train": "n_train_limit",
    "data.n_test": "n_test_limit",
    **{
        f"data.{key}": key
        for key in ("batch_size", "train_fraction", "resize", "folds", "fold", "split_seed", "sampling")
    },
    **{f"hardware.{key}": key for key in ("accelerator", "devices", "precision", "memory_format", "compile")},
    "augment.mixup": "mixup",
    "augment.cutmix": "cutmix",
}
ALL = "all"  # of what a limit is not set for
NOT_SET = "none"
LIMITS = ("data.train_per_class", "data.train_fraction", "data.n_train", "data.n_test")
LEFT_OUT = ("logger", "figures", "rerun", "preprocessing", "optimizer", "scheduler", "model.args")
SCHEDULER = ("warmup_epochs", "warmup_lr", "min_lr", "decay_epochs", "decay_rate")
# What has other keys in each run is one text, under this name.
MAPPINGS = {
    "model.args": "model_settings",
    "strategy.phases": "strategy_phases",
    "head.probe": "head_probe",
    "data.source": "data_source",
}
OPTIMIZER = ("lr", "weight_decay", "momentum")


def name_key(path: str) -> str:
    """The key under which dashboards have the setting with a dotted path."""
    renamed = {"optimizer._target_": "optimizer", "scheduler.sched": "scheduler", "data.source._target_": "source"}
    first, _, last = path.partition(".")
    if path in renamed:
        return renamed[path]
    if first in ("optimizer", "scheduler"):
        return last if last in (*OPTIMIZER, *SCHEDULER) else f"{first}_settings"
    for mapping, name in MAPPINGS.items():
        if path.startswith(f"{mapping}."):
            return name
    return SHORT.get(path, path.replace(".", "_"))


def flatten(config: RunConfig) -> dict[str, str | int | float | bool]:
    """The settings of a run under keys without dots; none is None, and every run has the same keys.

    What has other keys in each run (arguments of the network, of the data source, of phases) is one JSON text each,
    after keys of its own for what is looked for: `source`, `phases`, `optimizer`, `scheduler`, `probe`, `crop`.
    """
    found = dict(_walk("", config))
    found |= _name_parts(config)
    return {key: NOT_SET if value is None else value for key, value in found.items()}


def _walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    for item in fields(node):
        value, path = getattr(node, item.name), f"{prefix}{item.name}"
        if path in LEFT_OUT:
            continue
        if is_dataclass(value):
            yield from _walk(f"{path}.", value)
            continue
        if value is None and path in LIMITS:
            value = ALL
        elif isinstance(value, dict | list | tuple):
            value = _write(value)
        yield SHORT.get(path, path.replace(".", "_")), value


def _name_parts(config: RunConfig) -> dict[str, Any]:
    optimizer, scheduler, expected = config.optimizer, config.scheduler, config.preprocessing
    augment = config.augment
    return {
        "source": _name_target(config.data.source),
        "phases": " > ".join(config.strategy.phases),
        "probe": _name_target(config.head.probe),
        "optimizer": _name_target(optimizer),
        **{key: optimizer.get(key) for key in OPTIMIZER},
        "optimizer_settings": _write({k: v for k, v in optimizer.items() if k not in ("_target_", *OPTIMIZER)}),
        "scheduler": scheduler.get("sched"),
        **{key: scheduler.get(key) for key in SCHEDULER},
        "scheduler_settings": _write({k: v for k, v in scheduler.items() if k not in ("sched", *SCHEDULER)}),
        "model_settings": _write(config.model.args),
        "crop": "-".join(f"{share:g}" for share in augment.crop_scale),
        "crop_share_min": augment.crop_scale[0],
        "crop_pct": expected.get("crop_pct"),
        "interpolation": expected.get("interpolation"),
        "image_size": config.data.image_size or expected.get("image_size"),
        "measures": " ".join(config.measures) or None,
        "imports": " ".join(config.imports or ()) or None,
    }


def _name_target(node: Mapping[str, Any]) -> str | None:
    """The last part of the name of what a node builds."""
    return str(node["_target_"]).rpartition(".")[2] if "_target_" in node else None


def _write(value: Any) -> str:
    return json.dumps(value, default=vars)
