"""Skip a run that is complete, and say so; if it was made with other settings, say that these have no effect."""

import logging
from collections.abc import Mapping
from typing import Any

from headstart.config.effect import describe_same_run
from headstart.config.schema import RunConfig, to_plain
from headstart.errors import Pruned
from headstart.storage.files import refuse_link
from headstart.storage.identity import find_folder
from headstart.storage.journal import PRUNED
from headstart.storage.records import Result, make_damage_error, read_result, read_state
from headstart.storage.study_state import read_pruning

log = logging.getLogger(__name__)


def find_completed(config: RunConfig, digests: Mapping[str, str | None]) -> Result | None:
    """Find the result of a run that need not be run; nothing is written and nothing locked, as on a read-only disk.

    Returns:
        None if the run is not complete, or is to run again.

    Raises:
        UserError: its `result.json` is damaged.
    """
    if config.rerun:
        return None
    folder = find_folder(to_plain(config), digests)
    refuse_link(folder)
    return read_result(folder)


def raise_if_pruned(config: RunConfig, digests: Mapping[str, str | None]) -> None:
    """Raise Pruned if an earlier attempt was pruned, and runs are still to be pruned."""
    if config.prune == "none" or config.rerun:
        return
    folder = find_folder(to_plain(config), digests)
    state = read_state(folder)
    if state.get("status") == PRUNED:
        log.info("%s was pruned: skipped; prune=none runs it to its end", folder)
        raise Pruned(read_pruning(state))


def skip(config: RunConfig, done: Result) -> None:
    """Say that the run with this config is complete, and which settings of it have no effect.

    Raises:
        UserError: its `result.json` is damaged.
    """
    accuracy = 100 * done.read_accuracy("test")
    log.info("%s is complete (test accuracy %.1f %%): skipped; rerun=true runs it again", done.folder, accuracy)
    path = done.folder / "config.yaml"
    try:
        same = describe_same_run(to_plain(config), _read_yaml(path.read_text("utf-8")), config.strategy.name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("  compare may not know its settings: %s", make_damage_error(path, error))
    else:
        if same is not None:
            log.info("  %s", same)


def _read_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from error
