"""Composing as Hydra does, but on past an error: what is wrong is kept in words, and all the rest is composed.

Only used once something is known or feared to be wrong, for Hydra itself stops at the first error. It leans on parts
of Hydra that are not its public interface; the version is pinned for that reason too.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from headstart.config import keys, resolvers, validate
from headstart.storage.redact import mask


@dataclass
class Composed:
    """A config as far as it can be composed, what went wrong, and what the user's own files say."""

    config: DictConfig
    problems: list[str] = field(default_factory=list)
    files: list[tuple[str, DictConfig]] = field(default_factory=list)  # (path, its content at its place)


class Composer:
    """Composes lists of overrides; those that choose the same files share the reading of them."""

    def __init__(self, loader: ConfigLoaderImpl, config_name: str) -> None:
        self._loader = loader
        self._name = config_name
        self._bases: dict[tuple[str, ...], Composed] = {}

    def compose(self, overrides: list[Override]) -> Composed:
        """The config of one job. Raises what Hydra raises where not even the primary config can be read."""
        repository = self._loader.repository
        choosing = [override for override in overrides if _chooses(override, repository)]
        setting = [override for override in overrides if override not in choosing]
        key = tuple(text(override) for override in choosing)
        if key not in self._bases:
            self._bases[key] = self._base(choosing)
        base = self._bases[key]
        config = copy.deepcopy(base.config)
        try:
            self._loader._apply_overrides_to_config(setting, config)
            return Composed(config, list(base.problems), base.files)
        except Exception:
            return self._one_by_one(base, setting)

    def _one_by_one(self, base: Composed, setting: list[Override]) -> Composed:
        config, problems = base.config, list(base.problems)
        for override in setting:
            trial = copy.deepcopy(config)
            try:
                self._loader._apply_overrides_to_config([override], trial)
                config = trial
            except Exception as error:
                problems.append(f"{show_override(override)}: {_why_not_set(override, error, config)}")
        return Composed(config, problems, base.files)

    def _base(self, choosing: list[Override]) -> Composed:
        """Every file of the defaults list merged, without the choices that do not exist or cannot be read."""
        problems, good = [], []
        for override in choosing:
            reason = _bad_choice(override, self._loader.repository)
            if reason:
                problems.append(f"{show_override(override)}: {reason}")
            else:
                good.append(override)
        try:
            repository, defaults = self._defaults(good)
        except Exception:
            accepted: list[Override] = []
            for override in good:
                try:
                    self._defaults([*accepted, override])
                    accepted.append(override)
                except MissingConfigException as error:
                    group, _, name = str(error.missing_cfg_file).rpartition("/")
                    reason = not_offered(name, group, error.options or [])
                    problems.append(f"{show_override(override)}: it asks for {group}={name}, but {reason}")
                except Exception as error:
                    problems.append(f"{show_override(override)}: {first_line(error)}")
            repository, defaults = self._defaults(accepted)
        return self._merged(repository, defaults, problems)

    def _defaults(self, choosing: list[Override]) -> tuple[CachingConfigRepository, list[ResultDefault]]:
        texts = [text(override) for override in choosing]
        parsed, repository = self._loader._parse_overrides_and_create_caching_repo(self._name, texts)
        found = create_defaults_list(
            repo=repository, config_name=self._name, overrides_list=parsed, prepend_hydra=True, skip_missing=False
        )
        return repository, found.defaults

    def _merged(
        self, repository: CachingConfigRepository, defaults: list[ResultDefault], problems: list[str]
    ) -> Composed:
        config = OmegaConf.create()
        files = []
        for default in defaults:
            loaded = self._loader._load_single_config(default=default, repo=repository)
            path = _own_file(loaded.path, default.config_path or "")
            content = loaded.config
            if path and isinstance(content, DictConfig):
                files.append((path, content))
            trial = copy.deepcopy(config) if path else config  # what ships with headstart merges
            try:
                trial.merge_with(content)
                config = trial
            except OmegaConfBaseException:
                for key, value in _leaves(content, ""):
                    reason = _not_merged(config, key, value)
                    if reason:
                        line = key if isinstance(value, DictConfig | ListConfig) else show_line(f"{key}={value}")
                        problems.append(f"{line}: {reason} (in {path})")
        OmegaConf.set_struct(config, True)
        OmegaConf.set_readonly(config.hydra, False)
        return Composed(config, problems, files)


def text(override: Override) -> str:
    """An override as it was typed."""
    return override.input_line or override.get_key_element()


def show_override(override: Override) -> str:
    """An override as it may be shown: secrets in it are masked."""
    return show_line(text(override))


def show_line(line: str) -> str:
    """A line of the form key=value as it may be shown."""
    key, sign, value = line.partition("=")
    return str(mask(f"{key}{sign}{mask(value)}"))


def first_line(error: BaseException) -> str:
    """An error's own words, in one line; of several lines those that say where in a file it is are kept."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    where = [line for line in lines[1:] if line.startswith('in "')][:1]
    return ", ".join([lines[0], *where]) if lines else type(error).__name__


def _chooses(override: Override, repository: Any) -> bool:
    """Whether an override chooses files (``model=resnet18``) or where they are looked for, not a value."""
    key = override.key_or_group
    if key == "hydra.searchpath":
        return True
    return not override.is_value_path and repository.group_exists(key) and not isinstance(override.value(), dict)


def _bad_choice(override: Override, repository: Any) -> str | None:
    group, value = override.key_or_group, override.value()
    if override.is_delete() or group == "hydra.searchpath" or override.is_sweep_override():
        return None
    options = repository.get_group_options(group)
    wanted = value if isinstance(value, list) else [value]
    for name in wanted:
        if isinstance(name, str) and ("${" in name or repository.config_exists(f"{group}/{name}")):
            continue
        if name is None:
            return f"null is no choice; leave it out for what is usual; {group} is one of {', '.join(options)}"
        return not_offered(str(name), group, options)
    return None


def not_offered(name: str, group: str, options: Iterable[str]) -> str:
    """Say that a group has no such choice: the nearest, and all."""
    near = keys.nearest(name, options)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"there is no such {group}; {hint}{group} is one of {', '.join(options)}"


def _own_file(source: str | None, config_path: str) -> str | None:
    """The path of a file that is not one of headstart's or Hydra's own."""
    place = (source or "").removeprefix("file://")
    if not (source or "").startswith("file://") or Path(place).resolve() == resolvers.config_folder():
        return None
    return str(Path(place) / f"{config_path.removesuffix('.yaml')}.yaml")


def _leaves(node: Any, prefix: str) -> list[tuple[str, Any]]:
    """Keys and values of a file, as deep as the schema (for Hydra's own keys: its file) names keys."""
    found = []
    for name, value in keys.items(node):
        key = f"{prefix}{name}"
        deeper = key.startswith("hydra") or keys.has_keys(key)
        if deeper and keys.items(value):
            found += _leaves(value, f"{key}.")
        elif key != "defaults":
            found.append((key, value))
    return found


def _not_merged(config: DictConfig, key: str, value: Any) -> str | None:
    """Merge one key of a file; returns why not, if it cannot be."""
    content = OmegaConf.create()
    OmegaConf.update(content, key, value)
    trial = copy.deepcopy(config)
    try:
        trial.merge_with(content)
    except OmegaConfBaseException as error:
        return why(key, value, error, config)
    config.merge_with(content)
    return None


def _why_not_set(override: Override, error: Exception, config: DictConfig) -> str:
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
        near = keys.nearest(key, _names(key, config))
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"there is no such key{hint or ' yet'} (a new one needs a +: +{show_override(override)})"
    if plain and isinstance(cause, ConfigKeyError) and keys.is_free(f"{key}.any"):
        return f"adds keys to {key}, and so it needs a +: +{show_override(override)}"
    return why(key, override.value(), cause, config)


def why(key: str, value: Any, error: BaseException, config: DictConfig) -> str:
    """Why ``key`` cannot have ``value``: there is no such key, or what it takes instead."""
    if isinstance(error, ConfigKeyError | ConfigAttributeError) or "Could not override" in str(error):
        strange = [name for name in (key, *keys.present_keys(value, f"{key}.")) if keys.kind_of(name) is None]
        return keys.no_such(strange[0], _names(key, config)) if strange else first_line(error)
    takes = keys.describe_type(key)
    if takes is None:
        return first_line(error)
    return f"must be {', '.join(filter(None, [takes, validate.describe_range(key)]))}"


def _names(key: str, config: DictConfig) -> set[str]:
    """The names that a misspelt key may have meant: Hydra's for a key of Hydra's, else the schema's and what is set."""
    if key.startswith("hydra."):
        return {name for name in keys.present_keys(config) if name.startswith("hydra")}
    return {*keys.schema_keys(), *(name for name in keys.present_keys(config) if not name.startswith("hydra"))}
