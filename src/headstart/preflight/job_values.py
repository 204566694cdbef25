"""Read the typed configs of jobs that choose the same files: values are only set, read and put back."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config import keys
from headstart.config.schema import RunConfig
from headstart.config.text import settle_texts

MISSING_KEY = object()  # in `JobValues`, the old value of a key that did not exist


class JobValues:
    """A config in which the values of each job are set, read as a typed config, and put back."""

    def __init__(self, composed: DictConfig) -> None:
        self._plain: Any = OmegaConf.to_container(composed, resolve=False)
        self._config: DictConfig | None = None
        try:
            merged = OmegaConf.merge(OmegaConf.structured(RunConfig), self._plain)
        except OmegaConfBaseException:
            return  # no job with these files is valid: `headstart.config.validate` finds the reason
        assert isinstance(merged, DictConfig)
        self._config, self._plain = merged, OmegaConf.to_container(merged, resolve=False)

    def read(self, setting: Sequence[Override]) -> RunConfig | None:
        """Read the typed config with these values; None if an override does more than give a valid value to a key."""
        before: list[tuple[str, Any]] = []
        try:
            if self._config is None or not all(self._set(self._config, override, before) for override in setting):
                return None
            config = OmegaConf.to_object(self._config)
        except OmegaConfBaseException:
            return None
        finally:
            for key, value in reversed(before):
                self._put_back(key, value)
        assert isinstance(config, RunConfig)
        return settle_texts(config)

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
