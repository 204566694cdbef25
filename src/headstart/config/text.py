"""Which keys hold text: by the schema, or by the signature of what a `_target_` names.

YAML and Hydra read `2024_11_28`, `1e5` and `1.10` as numbers. Under a key that holds text they are text, as typed.
A shell expands `~` only at the start of a word: in `output_dir=~/runs` it is left to this program.
"""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config import instantiate, keys
from headstart.config.paths import expand_home
from headstart.config.ranges import CHOICES
from headstart.config.schema import RunConfig
from headstart.errors import UserError

NULL_WORDS = ("None", "none")  # how other tools write null
NONE_IS_A_WORD = ("model.weights", *(key for key, words in CHOICES.items() if "none" in words))
# Their signatures are not asked: they take numbers and words, and importing them takes seconds.
LIBRARIES = ("torch.", "timm.", "torchmetrics.", "pytorch_lightning.")


def find_hint(key: str, config: DictConfig | None = None) -> Any:
    """The type of a key's value: the schema's, or that of an argument of the `_target_` beside it in `config`.

    Any: not known; None: there is no such key.
    """
    kind = keys.kind_of(key)
    parent, _, name = key.rpartition(".")
    if kind is not Any or config is None or not parent:
        return kind
    try:
        target = OmegaConf.select(config, f"{parent}._target_")
    except OmegaConfBaseException:
        return Any
    role = instantiate.find_role(parent)
    return list_argument_hints(target, role).get(name, Any) if isinstance(target, str) and role else Any


@cache
def list_argument_hints(target: str, role: str) -> dict[str, Any]:
    """The types of the arguments of what `target` names, by name; empty if they are not known."""
    if target.startswith(LIBRARIES):
        return {}
    try:
        call = instantiate.find_target(target, role)
        hints = typing.get_type_hints(call.__init__ if inspect.isclass(call) else call)
    except (UserError, NameError, AttributeError, TypeError):  # the check of the components gives the reason
        return {}
    return {name: hint for name, hint in hints.items() if name != "return"}


def _list_kinds(hint: Any) -> set[Any]:
    """The types of a union, or the one type."""
    return set(typing.get_args(hint)) if typing.get_origin(hint) in (types.UnionType, typing.Union) else {hint}


def is_nullable(hint: Any) -> bool:
    """Whether a value of this type may be null."""
    return type(None) in _list_kinds(hint)


def is_text(hint: Any) -> bool:
    """Whether a value of this type is text."""
    kinds = _list_kinds(hint) - {type(None)}
    return bool(kinds) and kinds <= {str, Path}


def item_hint(hint: Any) -> Any:
    """The type of the items of a list of this type; Any if it is not known."""
    for kind in _list_kinds(hint):
        if typing.get_origin(kind) in (list, tuple, Sequence) and typing.get_args(kind):
            return typing.get_args(kind)[0]
    return Any


def settle_texts(config: RunConfig) -> RunConfig:
    """Expand `~` in paths, and turn numbers that a file gives for texts of the source into text, in place.

    A number elsewhere is refused by `find_argument_problems`: to look at those signatures takes seconds.
    """
    config.output_dir = expand_home(config.output_dir)
    config.cache_dir = None if config.cache_dir is None else expand_home(config.cache_dir)
    if config.model.weights.startswith("local-dir:~"):  # timm reads it; a file and `run:` are expanded when read
        config.model.weights = f"local-dir:{expand_home(config.model.weights.removeprefix('local-dir:'))}"
    settle_source(config.data.source)
    return config


def settle_source(source: Any) -> None:
    """The same for the arguments of a data source, in place; what is no mapping stays."""
    hints = {}
    if isinstance(source, dict) and any(isinstance(value, int | float) for value in source.values()):
        hints = list_argument_hints(str(source.get("_target_")), "source")
    for name, value in source.items() if isinstance(source, dict) else ():
        if isinstance(value, int | float) and is_text(hints.get(name, Any)):
            source[name] = str(value)
        elif isinstance(value, str) and value.startswith("~"):
            source[name] = expand_home(value)


def find_argument_problems(config: RunConfig) -> Iterator[str]:
    """Text arguments that are numbers, lists, mappings, or null although they may not be."""
    for key, node in _list_target_nodes(config):
        role = instantiate.find_role(key)
        for name, value in node.items() if role else ():
            if isinstance(value, str):
                continue
            hint = list_argument_hints(node["_target_"], role).get(name, Any)
            if is_text(hint) and not (value is None and is_nullable(hint)):
                shown = "null" if value is None else value
                yield f"{key}.{name}={shown}: must be text; quote it if it is meant: {key}.{name}='\"{shown}\"'"


def _list_target_nodes(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of a typed config that names a `_target_`, with its key."""
    if is_dataclass(node):
        inner: Mapping[Any, Any] = {field.name: getattr(node, field.name) for field in fields(node)}
    elif isinstance(node, dict):
        inner = node
        if isinstance(node.get("_target_"), str):
            yield key, node
    else:
        inner = dict(enumerate(node)) if isinstance(node, list) else {}
    for name, value in inner.items():
        yield from _list_target_nodes(value, f"{key}.{name}".lstrip("."))
