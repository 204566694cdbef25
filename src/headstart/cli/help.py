"""`headstart train --help KEY`: what a key or a group means, what it may be, what sets it, and an example.

Nothing here imports torch.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config import keys
from headstart.config.docstrings import describe_target
from headstart.config.meanings import GROUPS, VALUES, find_example, find_general, find_meaning
from headstart.config.ranges import CHOICES, describe_range
from headstart.config.resolvers import WANDB_SWEEP, config_folder
from headstart.config.validate import raise_if_any
from headstart.errors import UserError
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composer, without_hydra
from headstart.preflight.parse import parse_overrides

WIDEST = 120  # characters of a line where nothing says how wide the terminal is
MOST_SETTERS = 12
COLUMN = 40  # where meanings begin on the page of all keys
KEY = re.compile(r"( *)(\w+):(.*)")  # a line of the config as YAML


def find_words(argv: Sequence[str]) -> list[str]:
    """The keys that `headstart train ARGV` asks to explain: the words after --help that are no overrides."""
    if not {"--help", "-h"} & set(argv):
        return []
    with suppress(SystemExit):
        return [word for word in parse_arguments(argv).overrides if "=" not in word and word[:1] not in "~+"]
    return []


def main(argv: Sequence[str]) -> int:
    """Explain each key or group that `ARGV` names; the overrides in it show what they change.

    Raises:
        UserError: there is no such key; the nearest names are in the message.
    """
    register_resolvers()
    arguments = parse_arguments(argv)
    words = find_words(argv)
    manual = Manual(
        Loader(arguments.config_name or "config", arguments.config_dir, arguments.config_path),
        [word for word in arguments.overrides if word not in words],
    )
    print("\n\n".join("\n".join(manual.explain(word.rstrip("."))) for word in words))
    return 0


class Manual:
    """The explanations of keys, for the config that some overrides compose."""

    def __init__(self, loader: Loader, overrides: Sequence[str]) -> None:
        self.loader, composer = loader, Composer(loader)
        problems, parsed = parse_overrides(loader.parser, list(overrides), list(overrides), multirun=False)
        composed = composer.compose(parsed)
        raise_if_any([*problems, *composed.problems])
        self.config = without_hydra(composed.config)
        self.before = without_hydra(composer.compose([]).config)
        self.choices = dict(composer.base(parsed).defaults.choices)
        self.width = shutil.get_terminal_size((WIDEST, 24)).columns

    def explain(self, key: str) -> list[str]:
        """The lines about a key or a group."""
        if key == WANDB_SWEEP:
            return self._list_wandb_sweeps()
        groups = self.loader.groups()
        known = {*keys.schema_keys(), *keys.present_keys(self.config), *groups}
        general = find_general(key)
        if key not in known and find_meaning(key) is None and keys.kind_of(key) is None:
            hint = keys.describe_unknown_key(key, known)
            raise UserError(f"--help {key}: {hint} (all of them: headstart train --help)")
        meaning = self.find_meaning(key)
        lines = [f"{key}{' (a group of files)' if key in groups else ''}", *self._wrap(meaning or "", "  ")]
        if key in groups:
            lines += self._list_options(key)
        value = _read(self.config, key)
        below = [str(name) for name, _ in keys.list_items(value)] or self._list_schema(key)
        if below:
            lines += ["", "  keys below it", *self._wrap(", ".join(below), "    ")]
        facts = self._list_facts(key, general, value) if key not in groups else []
        if example := self._make_example(key, value):
            facts.append(("example", f"headstart train {example}"))
        return [*lines, "", *(line for name, text in facts for line in self._wrap(text, f"  {name:<10}"))]

    def _list_wandb_sweeps(self) -> list[str]:
        """The files that `wandb sweep` takes, each with its place, which a wheel hides."""
        files = sorted((config_folder() / WANDB_SWEEP).glob("*.yaml"))
        lines = [line for path in files for line in (f"    {path}", *self._wrap(read_comment(path), "      "))]
        return [f"{WANDB_SWEEP} (no group of a run: files for `wandb sweep FILE`, to be copied and changed)", *lines]

    def find_meaning(self, key: str) -> str | None:
        """What a key means: by our table, by the docstring of the `_target_` beside it, or by the comment in a file."""
        if key in GROUPS or find_meaning(key) is not None:
            return find_meaning(key) or GROUPS[key]
        parent, _, name = key.rpartition(".")
        target = _read(self.config, f"{parent}._target_")
        if name == "_target_":
            return f"What is built here: {describe_target(str(target))[0]}"
        if isinstance(target, str) and name in describe_target(target)[1]:
            return describe_target(target)[1][name]
        own = _read(self.config, f"{key}._target_")
        return describe_target(own)[0] if isinstance(own, str) else None

    def _list_options(self, group: str) -> list[str]:
        options = self.loader.options(group)
        longest = max(map(len, options), default=0)
        chosen = self.choices.get(group)
        lines = []
        for option in options:
            path, _, _ = self.loader.read_option(group, option)
            text = f"  {'*' if option == chosen else ' '} {option:<{longest}}  {read_comment(path)}"
            lines.append(_cut(text, self.width))
        return ["", f"  {group}=OPTION, of {len(options)}" + (f" (*: {group}={chosen})" if chosen else ""), *lines]

    def _list_facts(self, key: str, general: str, value: Any) -> list[tuple[str, str]]:
        values = VALUES.get(general) or ", ".join(filter(None, (keys.describe_type(key), describe_range(key))))
        before = _read(self.before, key)
        facts = [("values", values)] if values else []
        if key not in keys.present_keys(self.config) and keys.is_free(key):
            facts.append(("default", "what its class or function has; the config does not set it"))
        elif not isinstance(value, DictConfig):
            facts.append(("default", _show(before)))
            if value != before:
                facts.append(("here", _show(value)))
        setters = list(self._find_setters(key))
        more = f", … and {len(setters) - MOST_SETTERS} more" if len(setters) > MOST_SETTERS else ""
        if setters:
            facts.append(("set by", ", ".join(setters[:MOST_SETTERS]) + more))
        return facts

    def _find_setters(self, key: str) -> Iterator[str]:
        """The choices whose files set a key, with the value there, such as `optimizer=sgd (0.01)`."""
        for group in self.loader.groups():
            if group != key.partition(".")[0] and group not in GROUPS:
                continue
            for option in self.loader.options(group):
                _, is_global, content = self.loader.read_option(group, option)
                value = _read(content, key if is_global else key.partition(".")[2])
                if value is not None:
                    shown = "" if isinstance(value, DictConfig) else f" ({_show(value)})"
                    yield f"{group}={option}{shown}"

    def _list_schema(self, key: str) -> list[str]:
        depth = key.count(".") + 1
        below = [name for name in keys.schema_keys() if name.startswith(f"{key}.") and name.count(".") == depth]
        return [name.rpartition(".")[2] for name in below]

    def _make_example(self, key: str, value: Any) -> str | None:
        """An override that changes the key; None for a mapping that only a file can hold."""
        group = key.partition(".")[0]
        if key in self.loader.groups() or (isinstance(value, DictConfig) and self.loader.has_group(group)):
            options = [option for option in self.loader.options(group) if option != self.choices.get(group)]
            return f"{group}={options[0] if options else 'OPTION'}"
        if example := find_example(key):
            return example
        if key in CHOICES:
            return f"{key}={next(choice for choice in reversed(CHOICES[key]) if choice != value)}"
        if isinstance(value, bool):
            return f"{key}={str(not value).lower()}"
        if isinstance(value, int | float):
            return f"{key}={2 * value or keys.make_example(key)}"
        return None

    def _wrap(self, text: str, indent: str) -> list[str]:
        return textwrap.wrap(
            text, self.width, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False
        )


def annotate(page: str) -> str:
    """Add to each key of `headstart train --help` its meaning, as much of it as the line has room for."""
    width = shutil.get_terminal_size((WIDEST, 24)).columns
    lines: list[str] = []
    path: list[str] = []
    targets: dict[str, str] = {}
    page = re.sub(rf"^{WANDB_SWEEP}: .*\n", "", page, flags=re.MULTILINE)
    head, title, rest = page.partition("Keys (key=value), as composed\n")
    for line in rest.splitlines():
        found = KEY.match(line)
        if found is None:
            lines.append(line)
            continue
        path = [*path[: len(found[1]) // 2], found[2]]
        parent = ".".join(path[:-1])
        if path[-1] == "_target_":
            targets[parent] = found[3].strip()
        meaning = find_meaning(".".join(path)) or describe_target(targets.get(parent, ""))[1].get(path[-1])
        if path[-1] == "_target_" and meaning is None:
            meaning = describe_target(targets[parent])[0]
        lines.append(_cut(f"{line:<{COLUMN}}  # {meaning}", width) if meaning else line)
    return "\n".join([f"{head}{title}".rstrip("\n"), *lines]) + "\n"


def read_comment(path: Path | None) -> str:
    """The first sentence of the comment at the top of a file of `conf/`; empty if there is none."""
    lines = [] if path is None else path.read_text("utf-8").splitlines()
    if lines and lines[0].startswith("# @package"):
        lines = lines[1:]
    comment: list[str] = []
    for line in lines:
        if not line.startswith("# "):
            break
        comment.append(line[2:].strip())
    return re.split(r"\.(?= +[A-Z])| Command: ", " ".join(comment).removeprefix("Question:"))[0].strip().rstrip(".")


def _cut(text: str, width: int) -> str:
    return text.rstrip() if len(text) <= width else f"{text[: width - 1].rpartition(' ')[0]} …"


def _read(config: Any, key: str) -> Any:
    """The value of a key, interpolations as they are written; None if there is no such key."""
    for name in key.split("."):
        if not isinstance(config, DictConfig):
            return None
        config = dict(keys.list_items(config)).get(name)
    return config


def _show(value: Any) -> str:
    with suppress(OmegaConfBaseException):
        if isinstance(value, ListConfig):
            value = OmegaConf.to_container(value, resolve=False)
    return {None: "null", True: "true", False: "false", "???": "must be given"}.get(
        value if isinstance(value, str | bool | None) else "", str(value)
    )
