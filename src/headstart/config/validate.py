"""A composed config is checked before anything heavy happens; all problems are told at once.

Problems that need no model library are found here, before torch is imported; `headstart.preflight.components` has
the others.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from headstart.config import keys
from headstart.config.machine import missing_hardware
from headstart.config.schema import RunConfig
from headstart.config.values import find_value_problems
from headstart.errors import UserError, did_you_mean


def raise_if_any(problems: list[str]) -> None:
    """Raise one UserError that lists ``problems``, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError("\n".join([f"{count} in the config:", *(f"  - {problem}" for problem in problems)]))


def find_problems(composed: DictConfig, *, machine: bool = False) -> tuple[list[str], RunConfig | None]:
    """Every problem of a composed config that is found without torch, and the typed config if it has no gaps.

    What is wrong is taken out or filled in before the rest is checked, so that one mistake hides no other.

    Args:
        machine: the job is going to run on this machine, so look whether it can.
    """
    names, strange = {*keys.schema_keys(), *keys.present_keys(composed)}, keys.unknown_keys(composed)
    names = {name for name in names if keys.kind_of(name) is not None}
    found = [f"{key}: {keys.no_such(key, names)}" for key in strange]
    plain = OmegaConf.to_container(composed, resolve=False)
    for key in strange:
        _drop(plain, key.split("."))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunConfig), plain)
    except OmegaConfBaseException as error:
        return [*found, _unfit(error)], None
    assert isinstance(merged, DictConfig)
    gaps = list(_gaps(merged))
    for reason in dict.fromkeys(reason for _, reason in gaps if reason):
        found.append(f"{', '.join(key for key, other in gaps if other == reason)}: {reason}")
    try:
        for key, _ in gaps:
            OmegaConf.update(merged, key, {"all": 1} if key.endswith(".rates") else keys.example(key), merge=False)
        config = OmegaConf.to_object(merged)
        assert isinstance(config, RunConfig)
    except OmegaConfBaseException as error:
        return found or [_unfit(error)], None
    found += [problem for problem in find_value_problems(config) if not any(_about(problem, key) for key, _ in gaps)]
    found += missing_hardware(config.hardware) if machine else ()
    return found, None if gaps else config


def _unfit(error: OmegaConfBaseException) -> str:
    """What the key that ``error`` is about has to be."""
    key = error.full_key or "the config"
    takes = keys.describe_type(key)
    return f"{key}: " + (f"must be {takes}" if takes else str(error).strip().splitlines()[0])


def _drop(plain: Any, path: list[str], so_far: str = "") -> None:
    """Take out the first part of ``path`` that the schema does not have, with all that is in it."""
    key = f"{so_far}{path[0]}"
    if keys.kind_of(key) is None:
        plain.pop(path[0], None)
    elif path[0] in plain:
        _drop(plain[path[0]], path[1:], f"{key}.")


def _gaps(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys without a value, and why: nobody gave one, or an interpolation leads nowhere or to the wrong type."""
    for name, value in keys.items(node):
        key = f"{prefix}{name}"
        if OmegaConf.is_interpolation(node, name):
            try:
                node[name]
            except InterpolationToMissingValueError:
                yield key, ""  # what is missing is told itself
            except OmegaConfBaseException as error:
                yield key, _leads_nowhere(str(error).strip().splitlines()[0])
        elif OmegaConf.is_missing(node, name):
            yield key, f"must be given, e.g. {key}=..."
        elif isinstance(value, DictConfig):
            yield from _gaps(value, f"{key}.")


def _leads_nowhere(reason: str) -> str:
    asked = re.search(r"Interpolation key '(.+)' not found", reason)
    if asked is None:
        return reason
    nearest = partial(keys.nearest, limit=1)
    return reason + did_you_mean(asked.group(1), keys.schema_keys(), "; did you mean ${{{}}}?", nearest=nearest)


def _about(problem: str, key: str) -> bool:
    """Whether a problem's key is ``key``, or lies in it or around it."""
    named = re.match(r"[\w.]+", problem)
    name = named.group() if named else ""
    return f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.")
