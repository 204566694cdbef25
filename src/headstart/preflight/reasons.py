"""Why an override or a file cannot be had, in words."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from headstart.config import keys
from headstart.config.values import describe_range
from headstart.errors import did_you_mean
from headstart.storage.redact import mask


def as_typed(override: Override) -> str:
    """An override as it was typed."""
    return override.input_line or override.get_key_element()


def show_override(override: Override) -> str:
    """An override as it may be shown: secrets in it are masked."""
    return show_line(as_typed(override))


def show_line(line: str) -> str:
    """A line of the form key=value as it may be shown."""
    key, sign, value = line.partition("=")
    return str(mask(f"{key}{sign}{mask(value)}"))


def first_line(error: BaseException) -> str:
    """An error's own words, in one line; of several lines those that say where in a file it is are kept."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    where = [line for line in lines[1:] if line.startswith('in "')][:1]
    return ", ".join([lines[0], *where]) if lines else type(error).__name__


def not_offered(name: str, group: str, options: Iterable[str]) -> str:
    """Say that a group has no such choice: the nearest, and all."""
    hint = did_you_mean(name, options, " did you mean {}?", nearest=keys.nearest)
    return f"there is no such {group};{hint} {group} is one of {', '.join(options)}"


def why_not_set(override: Override, error: Exception, config: DictConfig) -> str:
    key = override.key_or_group
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if override.is_delete():
        absent = "does not exist" in str(error)
        return f"nothing to take away: {keys.no_such(key, _names(key, config))}" if absent else first_line(cause)
    if override.is_add() and "already at" in str(error):
        return f"{key} is there already: leave out the +"
    if override.is_list_extend():
        return first_line(cause)
    plain = not (override.is_add() or override.is_force_add())
    if plain and isinstance(cause, ConfigKeyError | ConfigAttributeError) and keys.is_free(key):
        hint = did_you_mean(key, _names(key, config), nearest=keys.nearest)
        return f"there is no such key{hint or ' yet'} (a new one needs a +: +{show_override(override)})"
    if plain and isinstance(cause, ConfigKeyError) and keys.is_free(f"{key}.any"):
        return f"adds keys to {key}, and so it needs a +: +{show_override(override)}"
    return why_not_taken(key, override.value(), cause, config)


def why_not_taken(key: str, value: Any, error: BaseException, config: DictConfig) -> str:
    """Why ``key`` cannot have ``value``: there is no such key, or what it takes instead."""
    if isinstance(error, ConfigKeyError | ConfigAttributeError) or "Could not override" in str(error):
        strange = [name for name in (key, *keys.present_keys(value, f"{key}.")) if keys.kind_of(name) is None]
        return keys.no_such(strange[0], _names(key, config)) if strange else first_line(error)
    takes = keys.describe_type(key)
    if takes is None:
        return first_line(error)
    return f"must be {', '.join(filter(None, [takes, describe_range(key)]))}"


def _names(key: str, config: DictConfig) -> set[str]:
    """The names that a misspelt key may have meant: Hydra's for a key of Hydra's, else the schema's and what is set."""
    if key.startswith("hydra."):
        return {name for name in keys.present_keys(config) if name.startswith("hydra")}
    return {*keys.schema_keys(), *(name for name in keys.present_keys(config) if not name.startswith("hydra"))}
