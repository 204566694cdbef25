"""Sentences that explain why an override or a config file cannot be used."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from headstart.config import keys
from headstart.config.ranges import describe_range
from headstart.errors import did_you_mean
from headstart.storage.redact import mask


def as_typed(override: Override) -> str:
    """An override as it was typed."""
    return override.original_input_line or as_line(override)


def as_line(override: Override) -> str:
    """An override as a line that Hydra reads, with text in quotes where Hydra would read something else."""
    return override.input_line or override.get_key_element()


def show_override(override: Override) -> str:
    """An override in the form in which it may be printed: secrets are masked."""
    return show_line(as_typed(override))


def show_line(line: str) -> str:
    """A line key=value in the form in which it may be printed: secrets are masked."""
    key, sign, value = line.partition("=")
    return str(mask(f"{key}{sign}{mask(value)}"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, and the line that names the place in a file, if there is one."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    where = [line for line in lines[1:] if line.startswith('in "')][:1]
    return ", ".join([lines[0], *where]) if lines else type(error).__name__


def describe_unknown_choice(name: str, group: str, options: Iterable[str]) -> str:
    """Say that a group has no such choice, with the nearest one and all of them."""
    hint = did_you_mean(name, options, " did you mean {}?", nearest=keys.nearest_keys)
    return f"there is no such {group};{hint} {group} is one of {', '.join(options)}"


def explain_override_error(override: Override, error: Exception, config: DictConfig) -> str:
    """Explain why an override cannot be applied to `config`."""
    key = override.key_or_group
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if override.is_delete():
        absent = "does not exist" in str(error)
        if not absent:
            return first_line(cause)
        return f"nothing to take away: {keys.describe_unknown_key(key, _known_names(key, config))}"
    if override.is_add() and "already at" in str(error):
        return f"{key} is there already: leave out the +"
    if override.is_list_extend():
        return first_line(cause)
    plain = not (override.is_add() or override.is_force_add())
    if plain and isinstance(cause, ConfigKeyError | ConfigAttributeError) and keys.is_free(key):
        hint = did_you_mean(key, _known_names(key, config), nearest=keys.nearest_keys)
        return f"there is no such key{hint or ' yet'} (a new one needs a +: +{show_override(override)})"
    if plain and isinstance(cause, ConfigKeyError) and keys.is_free(f"{key}.any"):
        return f"adds keys to {key}, and so it needs a +: +{show_override(override)}"
    return explain_value_error(key, override.value(), cause, config)


def explain_value_error(key: str, value: Any, error: BaseException, config: DictConfig) -> str:
    """Explain why `key` cannot have `value`: there is no such key, or it takes other values."""
    if isinstance(error, ConfigKeyError | ConfigAttributeError) or "Could not override" in str(error):
        strange = [name for name in (key, *keys.present_keys(value, f"{key}.")) if keys.kind_of(name) is None]
        return keys.describe_unknown_key(strange[0], _known_names(key, config)) if strange else first_line(error)
    takes = keys.describe_type(key)
    if takes is None:
        return first_line(error)
    words = f"; if the word is meant, quote it: {key}='\"None\"'" if value is None and takes == "text" else ""
    return f"must be {', '.join(filter(None, [takes, describe_range(key)]))}{words}"


def _known_names(key: str, config: DictConfig) -> set[str]:
    """The keys that a misspelt key may have meant: Hydra's keys, or the keys of the schema and of the config."""
    if key.startswith("hydra."):
        return {name for name in keys.present_keys(config) if name.startswith("hydra")}
    return {*keys.schema_keys(), *(name for name in keys.present_keys(config) if not name.startswith("hydra"))}
