"""Find text in the user's own YAML files that YAML reads as a number, as true or false, or that other tools call null.

`study: 2024_11_28` is the number 20241128 for YAML, and nothing after that knows what the file said: it is refused.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from headstart.config import keys, text

PARAMS = "hydra.sweeper.params."  # each key below it is a key of the config


def find_lost_texts(path: str, content: DictConfig, find_hint: Callable[[str], Any]) -> Iterator[str]:
    """Find the text keys of the file at `path` whose plain value is not the text that the file says."""
    places = list(keys.present_keys(content))  # the file may stand below a key: its `@package`
    for name, node in _list_scalars(yaml.compose(Path(path).read_text("utf-8"))):
        if node.style is not None:  # quoted
            continue
        value = _read(node.value)
        lost = isinstance(value, int | float) and str(value) != node.value
        if not lost and node.value not in text.NULL_WORDS:
            continue
        for place in places:
            key = place.removeprefix(PARAMS)
            if place != name and not place.endswith(f".{name}"):
                continue
            hint = find_hint(key)
            if not (text.is_text(hint) or text.is_text(text.item_hint(hint))) or key in text.NONE_IS_A_WORD:
                continue
            last = name.rpartition(".")[2]
            what = f"YAML reads {value} there" if lost else f"other tools mean null by it: write {last}: null"
            yield f"{key}: {node.value}: {what}{';' if lost else ', or'} quote it: {last}: '{node.value}' (in {path})"


def _list_scalars(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Every scalar of a YAML file with its dotted key; the items of a list have the key of the list."""
    if isinstance(node, yaml.ScalarNode):
        yield prefix, node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _list_scalars(item, prefix)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _list_scalars(value, f"{prefix}.{name.value}".lstrip("."))


def _read(value: str) -> Any:
    """Read a plain scalar as OmegaConf does."""
    try:
        return OmegaConf.create(f"x: {value}").x
    except Exception:  # an interpolation, or a part of a longer text
        return value
