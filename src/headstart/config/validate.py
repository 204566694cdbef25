"""Checks of a composed config that need no model library, so that they come before torch is imported.

All problems are reported at once. `headstart.preflight.components` finds the problems that need torch or timm.
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
from headstart.config.text import settle_texts
from headstart.config.values import find_value_problems
from headstart.errors import UserError, did_you_mean


def raise_if_any(problems: list[str]) -> None:
    """Raise one UserError that lists `problems`, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError("\n".join([f"{count} in the config:", *(f"  - {problem}" for problem in problems)]))


def find_problems(composed: DictConfig, *, machine: bool = False) -> tuple[list[str], RunConfig | None]:
    """Find the problems of a composed config without torch; also returns the typed config if no value is missing.

    A wrong key is removed and a missing value filled in before the rest is checked, so that one mistake hides no other.

    Args:
        machine: also check whether this machine has the hardware for the job.
    """
    names, strange = {*keys.schema_keys(), *keys.present_keys(composed)}, keys.unknown_keys(composed)
    names = {name for name in names if keys.kind_of(name) is not None}
    found = [f"{key}: {keys.describe_unknown_key(key, names)}" for key in strange]
    plain = OmegaConf.to_container(composed, resolve=False)
    for key in strange:
        _drop(plain, key.split("."))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunConfig), plain)
    except OmegaConfBaseException as error:
        return [*found, _describe_type_error(error)], None
    assert isinstance(merged, DictConfig)
    gaps = list(_find_gaps(merged))
    for reason in dict.fromkeys(reason for _, reason in gaps if reason):
        found.append(f"{', '.join(key for key, other in gaps if other == reason)}: {reason}")
    try:
        for key, _ in gaps:
            OmegaConf.update(merged, key, {"all": 1} if key.endswith(".rates") else keys.make_example(key), merge=False)
        config = OmegaConf.to_object(merged)
        assert isinstance(config, RunConfig)
    except OmegaConfBaseException as error:
        return found or [_describe_type_error(error)], None
    settle_texts(config)
    found += [problem for problem in find_value_problems(config) if not any(_concerns(problem, key) for key, _ in gaps)]
    found += missing_hardware(config.hardware) if machine else ()
    return found, None if gaps else config


def _describe_type_error(error: OmegaConfBaseException) -> str:
    """Say what type of value the key in `error` takes."""
    key = error.full_key or "the config"
    takes = keys.describe_type(key)
    return f"{key}: " + (f"must be {takes}" if takes else str(error).strip().splitlines()[0])


def _drop(plain: Any, path: list[str], so_far: str = "") -> None:
    """Remove the first part of `path` that the schema does not have, with everything below it."""
    key = f"{so_far}{path[0]}"
    if keys.kind_of(key) is None:
        plain.pop(path[0], None)
    elif path[0] in plain:
        _drop(plain[path[0]], path[1:], f"{key}.")


def _find_gaps(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Find keys without a value, and why: none was given, or an interpolation names no key or has the wrong type."""
    for name, value in keys.list_items(node):
        key = f"{prefix}{name}"
        if OmegaConf.is_interpolation(node, name):
            try:
                node[name]
            except InterpolationToMissingValueError:
                yield key, ""  # the missing key is itself reported
            except OmegaConfBaseException as error:
                yield key, _describe_bad_reference(str(error).strip().splitlines()[0])
        elif OmegaConf.is_missing(node, name):
            yield key, f"must be given, e.g. {key}=..."
        elif isinstance(value, DictConfig):
            yield from _find_gaps(value, f"{key}.")


def _describe_bad_reference(reason: str) -> str:
    asked = re.search(r"Interpolation key '(.+)' not found", reason)
    if asked is None:
        return reason
    nearest = partial(keys.nearest_keys, limit=1)
    return reason + did_you_mean(asked.group(1), keys.schema_keys(), "; did you mean ${{{}}}?", nearest=nearest)


def _concerns(problem: str, key: str) -> bool:
    """Whether a problem's key is `key`, or is above or below it."""
    named = re.match(r"[\w.]+", problem)
    name = named.group() if named else ""
    return f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.")
