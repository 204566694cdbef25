"""What a run keeps of its weights (`keep`): one file with what it learnt, and what that needs to be used again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.config.environment import hide
from headstart.context import Context
from headstart.evaluation.result import list_versions
from headstart.models import learnt, weights
from headstart.runtime.shared import derive
from headstart.storage import leftovers
from headstart.storage.redact import mask
from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)


def digest_unlearnt(context: Context, phases: Sequence[Phase]) -> dict[str, str]:
    """Digests of the tensors that the run may leave as its base has them, taken before the first phase.

    Nothing where all tensors are stored: a network from scratch, or one of which every layer is trained.
    """
    if context.config.strategy.start == "scratch" or not context.run.leads or context.config.keep == "none":
        return {}
    trained = frozenset().union(*(phase.trainable for phase in phases))
    return derive(context.model, "unlearnt", trained, lambda: learnt.digest_unlearnt(context.model, trained))


def save_weights(context: Context, before: Mapping[str, str], headless: bool) -> None:
    """Write the final weights, unless `keep=none`: what was learnt, and in the metadata the base and how to use it.

    Args:
        before: what `digest_unlearnt` returned.
        headless: the run's head is a probe in a file of its own.
    """
    config = context.config
    if config.keep == "none":
        return
    unlearnt = learnt.find_unlearnt(context.model, before, config.model)
    facts: dict[str, Any] = {
        "model": mask(hide({"name": config.model.name, "args": config.model.args})),
        "classes": list(context.data.classes),
        "transform": config.preprocessing,
        "strategy": config.strategy.name,
        "versions": list_versions(),
    }
    if unlearnt.base is not None:
        facts["base"] = unlearnt.base
    path = context.run.folder / weights.FINAL
    weights.save(context.model, path, headless=headless, left_out=unlearnt.names, facts=facts)


def free(context: Context) -> None:
    """Delete what a completed run does not keep: by default what its phases passed on to each other."""
    folder, kept = context.run.folder, context.config.keep
    if kept == "all" or not context.run.leads:
        return
    try:
        if kept == "none":
            for name in (weights.FINAL, weights.PROBE):
                (folder / name).unlink(missing_ok=True)
        leftovers.delete(leftovers.find_checkpoints(folder))
    except OSError as error:  # the run is complete all the same
        log.warning("  keep=%s: not all weights could be deleted: %s", kept, error)


def say_if_missing(folder: Path, kept: str) -> None:
    """Say that a completed run that is not run again has no weights, although `keep` asks for them."""
    if kept != "none" and not (folder / weights.FINAL).is_file():
        log.info("  keep=%s: its weights were not kept when it ran (keep=none); rerun=true makes them again", kept)
