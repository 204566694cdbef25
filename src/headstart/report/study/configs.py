"""Read a run's files for a comparison: its config is flat, and without what cannot change the run."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from headstart.config.effect import NO_EFFECT, list_values_without_effect
from headstart.storage.identity import LATER, compute_identity
from headstart.storage.plain_text import escape_all

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys; lists and empty mappings become JSON text."""
    if isinstance(node, Mapping) and node:
        pairs = [flatten(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items()]
        return {key: value for pair in pairs for key, value in pair.items()}
    if isinstance(node, list | Mapping):
        node = json.dumps(node, default=str)
    return {prefix: node} if prefix else {}


def load_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object; a ValueError or OSError says why it could not be read."""
    loaded = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise ValueError("it is not a JSON object")
    return escape_all(loaded)


def load_config(path: Path) -> dict[str, Any] | None:
    """Read a run's `config.yaml`; None where it is missing or does not parse."""
    try:
        loaded = escape_all(yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER))
        return loaded if isinstance(loaded, dict) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def load_overrides(path: Path) -> list[str] | None:
    """Read the words of a run's command from its `overrides.yaml`; None where they cannot be read."""
    try:
        found = yaml.load(path.read_text("utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def flatten_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a config, with keys that came later; NO_EFFECT stands for values that cannot change this run."""
    flat = {**LATER, **flatten(config)}
    with suppress(LookupError, TypeError, AttributeError):  # an incomplete config says nothing of what has an effect
        flat |= dict.fromkeys(flat.keys() & list_values_without_effect(config).keys(), NO_EFFECT)
    return flat


def identify(config: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """The run's identity as this version computes it; None where the config or the result does not suffice."""
    with suppress(LookupError, TypeError, AttributeError):
        return compute_identity(config, result["digests"])
    return None
