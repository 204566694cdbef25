"""The keys that a config may have, what values each takes, and which key a misspelt one probably meant."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig

from headstart.config.schema import RunConfig
from headstart.errors import did_you_mean, nearest_names

ALIKE = 0.7  # likeness, from 0 to 1, below which a key is not suggested
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

EXAMPLES: dict[Any, Any] = {int: 1, float: 0.5, bool: False, str: "x", Any: "x", list: [], tuple: [1.0, 1.0]}


def schema_keys(schema: type = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every key of the schema, dotted, except those in free mappings, such as an optimizer's arguments."""
    for name, kind in _get_hints(schema).items():
        yield f"{prefix}{name}"
        if isinstance(kind, type) and is_dataclass(kind):
            yield from schema_keys(kind, f"{prefix}{name}.")


def present_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a composed config, dotted."""
    for name, value in list_items(node):
        yield f"{prefix}{name}"
        yield from present_keys(value, f"{prefix}{name}.")


def unknown_keys(composed: DictConfig) -> list[str]:
    """The keys of a composed config that the schema does not have; Hydra alone would accept them after a `+`."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for name, value in list_items(node):
            path = f"{prefix}{name}"
            kind = kind_of(path)
            if kind is None:
                yield from _list_leaves(value, path)
            elif has_keys(path):
                yield from walk(value, f"{path}.")

    return list(walk(composed, ""))


def _list_leaves(node: Any, path: str) -> Iterator[str]:
    inner = list_items(node)
    for name, value in inner:
        yield from _list_leaves(value, f"{path}.{name}")
    if not inner:
        yield path


def list_items(node: Any) -> list[tuple[Any, Any]]:
    """Names and values of a mapping, interpolations not resolved; an empty list for anything else."""
    if isinstance(node, DictConfig):
        # the length is 0 if the whole node is null or missing
        return list(node.items_ex(resolve=False)) if len(node) else []
    return list(node.items()) if isinstance(node, Mapping) else []


@cache
def _get_hints(schema: type) -> dict[str, Any]:
    return get_type_hints(schema)


def strip_optional(kind: Any) -> Any:
    """Turn the type `X | None` into `X`."""
    return get_args(kind)[0] if get_origin(kind) is UnionType else kind


def kind_of(key: str) -> Any:
    """The type that the schema gives `key`; Any inside a free mapping, None if there is no such key."""
    kind: Any = RunConfig
    for part in key.split("."):
        kind = strip_optional(kind)
        if isinstance(kind, type) and is_dataclass(kind):
            kind = _get_hints(kind).get(part)
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif kind is not Any:
            return None
    return kind


def has_keys(key: str) -> bool:
    """Whether the schema says which keys stand below `key`."""
    return is_dataclass(kind_of(key)) or key == "strategy.phases"


def is_free(key: str) -> bool:
    """Whether `key` is in a free mapping, such as an optimizer's arguments."""
    return kind_of(key) is Any


def describe_type(key: str) -> str | None:
    """Describe the values that `key` takes, such as `a whole number or null`; None where the schema does not say."""
    kind = kind_of(key)
    if kind is None or kind is Any:
        return None
    return _describe(strip_optional(kind)) + (" or null" if kind is not strip_optional(kind) else "")


def make_example(key: str) -> Any:
    """Make some value of the type that `key` takes."""
    kind = strip_optional(kind_of(key))
    return EXAMPLES.get(get_origin(kind) or kind, {})


def _describe(kind: Any) -> str:
    if is_dataclass(kind):
        return f"keys of its own: {', '.join(field.name for field in fields(kind))}"
    origin = get_origin(kind)
    if origin is dict:
        return "a mapping, such as {name: value}"
    if origin is tuple:
        return "two numbers, such as [0.8, 1.0]"
    return "a list, such as [a, b]" if origin is list else KINDS[kind]


def describe_unknown_key(key: str, names: Iterable[str]) -> str:
    """Say that there is no such `key`, with the nearest of `names` and the keys at the same place."""
    names = set(names)
    hint = did_you_mean(key, names, nearest=nearest_keys)
    parent = key.rpartition(".")[0]
    while parent and parent not in names:
        parent = parent.rpartition(".")[0]
    if hint and parent in ("", "hydra"):
        return f"there is no such key{hint}"  # the list would be long
    siblings = ", ".join(sorted(name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == parent))
    return f"there is no such key{hint or ';'} {parent or 'the config'} has {siblings}"


def nearest_keys(key: str, names: Iterable[str], *, limit: int = 2) -> list[str]:
    """The one or two names most like a dotted `key`; a second one only if it is about as near as the first."""
    return nearest_names(key, names, limit=limit, cutoff=ALIKE, likeness=_likeness, margin=0.05)


def _likeness(key: str, name: str) -> float:
    """How much two dotted keys have in common, from 0 to 1: the last part counts most, then the whole path."""
    last = SequenceMatcher(None, key.rpartition(".")[2], name.rpartition(".")[2]).ratio()
    return 0.6 * last + 0.4 * SequenceMatcher(None, key, name).ratio()
