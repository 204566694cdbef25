"""Read the source that a config names, and split it into the parts of a run."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, cast

from headstart.config.instantiate import build, find_target
from headstart.data.digests import Contents
from headstart.data.groups import is_pattern
from headstart.data.splits import Part, split_source
from headstart.runtime import shared

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.config.schema import DataConfig
    from headstart.data.source import Source


def read_parts(config: DataConfig, cache_dir: Path | None) -> tuple[tuple[str, ...], dict[str, Part]]:
    """Read the source and split it; returns the classes and the parts train, val and test.

    Args:
        cache_dir: the folder in which the digests of files are cached, or None.
    """
    source = _read_source(config).with_contents(Contents(cache_dir))
    parts = split_source(
        source,
        train_per_class=config.train_per_class,
        train_fraction=config.train_fraction,
        n_train=config.n_train,
        n_test=config.n_test,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        group=config.group,
        folds=config.folds,
        fold=config.fold,
        seed=config.split_seed,
    )
    return source.classes, parts


def _read_source(config: DataConfig) -> Source:
    """Read the source; one that takes `group` reads the column that `data.group` names."""
    column = {} if config.group is None or is_pattern(config.group) else {"group": config.group}
    if column and "group" not in inspect.signature(find_target(config.source["_target_"], "source")).parameters:
        column = {}  # no table: `find_groups` says what to do if the source knows no groups
    key = repr((config.source, column))
    return cast("Source", shared.share("source", key, lambda: build("source", config.source, **column)))
