"""Read the typed configs of jobs that choose the same files: values are only set, read and put back.

The first job is read in full. Of each later one only those values are read that its overrides set, those that the first
job's set, and what refers to one of them (`split_seed: ${seed}`); the rest is as in the first job.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config import keys
from headstart.config.schema import RunConfig
from headstart.config.text import settle_texts

MISSING_KEY = object()  # in `JobValues`, the old value of a key that did not exist
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
# Resolvers that know nothing but their arguments, and the choices of files, which all jobs here have in common
PURE = re.compile(r"\$\{headstart_(study|installed|home|share):")
SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Template:
    """The typed config of the first job, and the keys that its overrides set."""

    config: RunConfig
    keys: frozenset[str]


class JobValues:
    """A config in which the values of each job are set, read as a typed config, and put back."""

    def __init__(self, composed: DictConfig) -> None:
        self._plain: Any = OmegaConf.to_container(composed, resolve=False)
        self._config: DictConfig | None = None
        self._template: Template | None = None
        self._references: dict[str, frozenset[str] | None] = {}  # None: what a value depends on is not known
        try:
            merged = OmegaConf.merge(OmegaConf.structured(RunConfig), self._plain)
        except OmegaConfBaseException:
            return  # no job with these files is valid: `headstart.config.validate` finds the reason
        assert isinstance(merged, DictConfig)
        self._config, self._plain = merged, OmegaConf.to_container(merged, resolve=False)
        self._references = dict(_find_references(self._plain))

    def read(self, setting: Sequence[Override]) -> RunConfig | None:
        """Read the typed config with these values; None if an override does more than give a valid value to a key."""
        before: list[tuple[str, Any]] = []
        try:
            if self._config is None or not all(self._set(self._config, override, before) for override in setting):
                return None
            config = self._read_changed(before) or self._read_all(before)
        except OmegaConfBaseException:
            return None
        finally:
            for key, value in reversed(before):
                self._put_back(key, value)
        return settle_texts(config)

    def _read_all(self, before: list[tuple[str, Any]]) -> RunConfig:
        config = OmegaConf.to_object(self._config)
        assert isinstance(config, RunConfig)
        if self._template is None:
            self._template = Template(copy.deepcopy(config), frozenset(key for key, _ in before))
        return config

    def _read_changed(self, before: list[tuple[str, Any]]) -> RunConfig | None:
        """Read what differs from the first job; None if that is more than single numbers, words and switches."""
        if self._template is None or self._config is None:
            return None
        changed = {key for key, _ in before} | self._template.keys
        for _ in self._references:  # what refers to a changed key may be referred to in its turn
            more = {key for key, names in self._references.items() if names is None or _touches(names, changed)}
            if more <= changed:
                break
            changed |= more
        config = copy.deepcopy(self._template.config)
        for key in changed:
            value = OmegaConf.select(self._config, key, default=MISSING_KEY)
            if not isinstance(value, SCALARS):
                return None
            *path, name = key.split(".")
            node: Any = config
            for part in path:
                node = node[part] if isinstance(node, dict) else getattr(node, part)
            if isinstance(node, dict):
                node[name] = value
            else:
                setattr(node, name, value)
        return config

    def _set(self, config: DictConfig, override: Override, before: list[tuple[str, Any]]) -> bool:
        """Set one value and remember the old one; returns False, with nothing set, if the override does more."""
        key, value = override.key_or_group, override.value()
        parent: Any = self._plain
        *path, name = key.split(".")
        for part in path:
            parent = parent.get(part) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or override.package or override.is_delete() or override.is_list_extend():
            return False
        if isinstance(value, dict) or isinstance(parent.get(name), dict) or value == "???":
            return False
        adds = override.is_add() or override.is_force_add()
        if override.is_add() and (name in parent or (key, MISSING_KEY) in before):
            return False
        if name in parent:
            before.append((key, parent[name]))
        elif adds and keys.is_free(key):
            before.append((key, MISSING_KEY))
        else:
            return False
        OmegaConf.update(config, key, value, merge=True, force_add=adds)
        return True

    def _put_back(self, key: str, value: Any) -> None:
        assert self._config is not None
        if value is MISSING_KEY:
            parent, _, name = key.rpartition(".")
            OmegaConf.select(self._config, parent).pop(name, None)
        else:
            OmegaConf.update(self._config, key, value, merge=False)


def _find_references(node: Any, key: str = "") -> Iterator[tuple[str, frozenset[str] | None]]:
    """The keys whose values refer to others, with the names of these; None where a resolver or a place decides."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _find_references(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        if any("${" in str(item) for item in node):
            yield key, None
    elif isinstance(node, str) and "${" in node:
        names = REFERENCE.findall(node)
        plain = len(names) + len(PURE.findall(node)) == node.count("${") and not any(
            name.startswith(".") for name in names
        )
        yield key, frozenset(names) if plain else None


def _touches(names: frozenset[str], changed: set[str]) -> bool:
    """Whether one of the names is a changed key, or above or below one."""
    return any(
        f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.") for name in names for key in changed
    )
