"""Quote the values of text keys in overrides, so that Hydra leaves them as they were typed.

`study=2024_11_28` becomes `study='2024_11_28'`: without quotes Hydra reads the number 20241128. The same line then goes
to the check, to the short way of reading a job, and to Hydra itself, so that all three give the same text.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from headstart.config import keys, text
from headstart.config.paths import expand_home
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composer
from headstart.preflight.sweep import list_axes, use_each_value_once

LINE = re.compile(r"(\+{0,2}[\w./$-]+)=(.*)", re.DOTALL)  # key=value, +key=value; `key@package=` chooses a file
CHOICE = re.compile(r"choice\((.*)\)", re.DOTALL)  # means the same as its arguments; inside, quotes are lost
HYDRA_TEXTS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
PAIRS = {"(": ")", "[": "]", "{": "}"}

FindHint = Callable[[str], Any]


def quote_line(line: str, find_hint: FindHint, parser: OverridesParser, *, multirun: bool) -> str:
    """Quote what Hydra would not read as the text that it is, and write null for `None` where null is allowed."""
    found = LINE.fullmatch(line)
    if found is None:
        return line
    key, value = found[1].lstrip("+"), found[2].strip()
    choice = CHOICE.fullmatch(value) if multirun else None
    inside = choice[1] if choice else value
    items = split_items(inside) if multirun else [inside]
    quoted = [_quote_item(item, key, find_hint(key), find_hint, parser) for item in items]
    if not multirun and text.is_text(find_hint(key)) and not _is_readable(quoted[0], parser):
        quoted = [quote(quoted[0])]  # its comma separates no values
    return line if quoted == items else f"{found[1]}={','.join(quoted)}"


def split_items(value: str, at: str = ",") -> list[str]:
    """Split at the commas, or other characters, that stand outside of quotes and brackets."""
    items, start, closing, quote = [], 0, [], ""
    for place, char in enumerate(value):
        if quote:
            quote = "" if char == quote and value[place - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in PAIRS:
            closing.append(PAIRS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char in at and not closing:
            items.append(value[start:place].strip())
            start = place + 1
    return [*items, value[start:].strip()]


def _quote_item(item: str, key: str, hint: Any, find_hint: FindHint, parser: OverridesParser) -> str:
    if item in text.NULL_WORDS and key not in text.NONE_IS_A_WORD:
        unknown = hint is Any or hint is None
        if (unknown and item == "None") or (not unknown and (text.is_nullable(hint) or text.is_text(hint))):
            return "null"  # refused where the key may not be null
    if item.startswith("[") and item.endswith("]"):
        inner = text.item_hint(hint)
        items = [_quote_item(part, key, inner, find_hint, parser) for part in split_items(item[1:-1])]
        return item if inner is Any or items == split_items(item[1:-1]) else f"[{','.join(items)}]"
    if item.startswith("{") and item.endswith("}"):
        return _quote_mapping(item, key, find_hint, parser)
    return quote_if_needed(item, parser) if text.is_text(hint) else item


def _quote_mapping(item: str, key: str, find_hint: FindHint, parser: OverridesParser) -> str:
    pairs = [part.partition(":") for part in split_items(item[1:-1])]
    quoted = [
        f"{name}{colon}{_quote_item(value.strip(), inner, find_hint(inner), find_hint, parser)}"
        for name, colon, value in pairs
        for inner in [f"{key}.{name.strip()}"]
    ]
    plain = [f"{name}{colon}{value.strip()}" for name, colon, value in pairs]
    return item if quoted == plain else f"{{{','.join(quoted)}}}"


def quote_if_needed(item: str, parser: OverridesParser) -> str:
    """Quote a text that Hydra would read as a number, as true or false, or not at all."""
    if not _is_readable(
        item, parser
    ):  # such as `a=b`, `photos (1)` or `été`; with a comma it is not sure what is meant
        return item if "," in item else quote(item)
    return quote(item) if isinstance(parser.parse_override(f"x={item}").value(), int | float) else item


def _is_readable(item: str, parser: OverridesParser) -> bool:
    try:
        parser.parse_override(f"x={item}").value()
    except Exception:
        return False
    return True


def _expand_hydra_folder(line: str) -> str:
    """Expand `~` in the folders that Hydra itself makes; those of the run are expanded with its other values."""
    key, sign, value = line.partition("=")
    return f"{key}{sign}{expand_home(value)}" if key in HYDRA_TEXTS else line


def quote(value: str) -> str:
    """A text between quotes, as Hydra reads it."""
    return QuotedString(value, Quote.single).with_quotes()


class TextKeys:
    """Knows which keys of a command hold text: config groups, keys of the schema, arguments of a `_target_`."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._configs: list[DictConfig] = []

    def quote(self, lines: Sequence[str], *, multirun: bool) -> list[str]:
        """Quote the lines of a command, each as `quote_line` does."""
        parser = self._composer.loader.parser
        quoted = [_expand_hydra_folder(line) for line in lines]
        quoted = [quote_line(line, self._find_hint, parser, multirun=multirun) for line in quoted]
        if any(self._may_be_argument(line, parser, multirun) for line in quoted):
            self._configs = list(self._compose_choices(quoted))
            quoted = [quote_line(line, self._find_hint, parser, multirun=multirun) for line in quoted]
        return quoted

    def _find_hint(self, key: str) -> Any:
        if key in HYDRA_TEXTS:
            return str
        loader = self._composer.loader
        if loader.has_group(key):  # `none` is a choice of some groups, and null is none of the others
            return Any if loader.has_option(key, "none") else str | None
        hints = [text.find_hint(key, config) for config in self._configs] or [text.find_hint(key)]
        return next((hint for hint in hints if text.is_text(hint)), hints[0])

    def _may_be_argument(self, line: str, parser: OverridesParser, multirun: bool) -> bool:
        """Whether the line gives a number, or what cannot be read, to an argument of a `_target_`."""
        found = LINE.fullmatch(line)
        if found is None or not keys.is_free(found[1].lstrip("+").partition("=")[0]):
            return False
        return quote_line(line, lambda _: str, parser, multirun=multirun) != line

    def _compose_choices(self, lines: Sequence[str]) -> Iterator[DictConfig]:
        """Compose the lines that can be read; where files are swept, once with each of them."""
        good = []
        for line in lines:
            with suppress(Exception):  # reported when all lines are parsed
                good.append(self._composer.loader.parser.parse_overrides([line])[0])
        swept = [override for override in good if override.is_sweep_override()]
        fixed = [override for override in good if not override.is_sweep_override()]
        files = [override for override in swept if self._composer.loader.has_group(override.key_or_group)]
        for choice in use_each_value_once(list_axes(files)) if files else [[]]:
            with suppress(Exception):
                yield self._composer.compose([*choice, *fixed]).config


def quote_arguments(argv: Sequence[str], params: Mapping[str, str] | None = None) -> list[str]:
    """Quote the overrides of a command line, and those of a sweep in a file, for Hydra's own app.

    Args:
        params: `hydra.sweeper.params` of the composed config.
    """
    arguments = parse_arguments(argv)
    texts = TextKeys(Composer(Loader(arguments.config_name or "config", arguments.config_dir, arguments.config_path)))
    multirun = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
    quoted = dict(zip(arguments.overrides, texts.quote(arguments.overrides, multirun=multirun), strict=True))
    lines = [f"{key}={value}" for key, value in (params or {}).items()]
    pairs = [line.partition("=") for line in texts.quote(lines, multirun=True)]
    added = ",".join(f"{key}:{quote(value)}" for key, _, value in pairs)
    changed = [f"++hydra.sweeper.params={{{added}}}"] if [*map("".join, pairs)] != lines else []
    return [*(quoted.get(word, word) for word in argv), *changed]
