"""The keys a config may have: which there are, what each takes in words, and which one a misspelt key meant."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig

from headstart.config.schema import RunConfig
from headstart.errors import did_you_mean, nearest_names

ALIKE = 0.7  # of 1: below this a name is not offered as what was meant
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

EXAMPLES: dict[Any, Any] = {int: 1, float: 0.5, bool: False, str: "x", Any: "x", list: [], tuple: [1.0, 1.0]}


def schema_keys(schema: type = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every key of the schema, dotted; what lies in free mappings (an optimizer's arguments) is not among them."""
    for name, kind in _hints(schema).items():
        yield f"{prefix}{name}"
        if isinstance(kind, type) and is_dataclass(kind):
            yield from schema_keys(kind, f"{prefix}{name}.")


def present_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a composed config, dotted."""
    for name, value in items(node):
        yield f"{prefix}{name}"
        yield from present_keys(value, f"{prefix}{name}.")


def unknown_keys(composed: DictConfig) -> list[str]:
    """The keys of a composed config that the schema does not have; plain Hydra takes them behind a ``+``."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for name, value in items(node):
            path = f"{prefix}{name}"
            kind = kind_of(path)
            if kind is None:
                yield from _leaves(value, path)
            elif has_keys(path):
                yield from walk(value, f"{path}.")

    return list(walk(composed, ""))


def _leaves(node: Any, path: str) -> Iterator[str]:
    inner = items(node)
    for name, value in inner:
        yield from _leaves(value, f"{path}.{name}")
    if not inner:
        yield path


def items(node: Any) -> list[tuple[Any, Any]]:
    """Names and values of a mapping, interpolations as they are; none of anything else."""
    if isinstance(node, DictConfig):
        return list(node.items_ex(resolve=False)) if len(node) else []  # 0 also where it is null or missing as a whole
    return list(node.items()) if isinstance(node, Mapping) else []


@cache
def _hints(schema: type) -> dict[str, Any]:
    return get_type_hints(schema)


def bare(kind: Any) -> Any:
    """``X`` of ``X | None``."""
    return get_args(kind)[0] if get_origin(kind) is UnionType else kind


def kind_of(key: str) -> Any:
    """The type that the schema gives ``key``; Any inside a free mapping, None where there is no such key."""
    kind: Any = RunConfig
    for part in key.split("."):
        kind = bare(kind)
        if isinstance(kind, type) and is_dataclass(kind):
            kind = _hints(kind).get(part)
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif kind is not Any:
            return None
    return kind


def has_keys(key: str) -> bool:
    """Whether the schema names the keys in ``key``."""
    return is_dataclass(kind_of(key)) or key == "strategy.phases"


def is_free(key: str) -> bool:
    """Whether ``key`` lies in a free mapping, such as an optimizer's arguments."""
    return kind_of(key) is Any


def describe_type(key: str) -> str | None:
    """What ``key`` takes, in words: ``a whole number or null``; None where the schema does not say."""
    kind = kind_of(key)
    if kind is None or kind is Any:
        return None
    return _words(bare(kind)) + (" or null" if kind is not bare(kind) else "")


def example(key: str) -> Any:
    """Some value of the type that ``key`` takes."""
    kind = bare(kind_of(key))
    return EXAMPLES.get(get_origin(kind) or kind, {})


def _words(kind: Any) -> str:
    if is_dataclass(kind):
        return f"keys of its own: {', '.join(field.name for field in fields(kind))}"
    origin = get_origin(kind)
    if origin is dict:
        return "a mapping, such as {name: value}"
    if origin is tuple:
        return "two numbers, such as [0.8, 1.0]"
    return "a list, such as [a, b]" if origin is list else KINDS[kind]


def no_such(key: str, names: Iterable[str]) -> str:
    """Say that there is no ``key``: the nearest of ``names``, and what stands where it was looked for."""
    names = set(names)
    hint = did_you_mean(key, names, nearest=nearest)
    parent = key.rpartition(".")[0]
    while parent and parent not in names:
        parent = parent.rpartition(".")[0]
    if hint and parent in ("", "hydra"):
        return f"there is no such key{hint}"  # the list would be long
    beside = ", ".join(sorted(name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == parent))
    return f"there is no such key{hint or ';'} {parent or 'the config'} has {beside}"


def nearest(key: str, names: Iterable[str], *, limit: int = 2) -> list[str]:
    """The one or two names most like a dotted ``key``; a second one only if it is about as near as the first."""
    return nearest_names(key, names, limit=limit, cutoff=ALIKE, likeness=_likeness, margin=0.05)


def _likeness(key: str, name: str) -> float:
    """How much two dotted keys have in common, from 0 to 1: the last part counts most, then the whole path."""
    last = SequenceMatcher(None, key.rpartition(".")[2], name.rpartition(".")[2]).ratio()
    return 0.6 * last + 0.4 * SequenceMatcher(None, key, name).ratio()
