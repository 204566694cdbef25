"""A list of configurations, the key `sweep`: each line is a product of its own, and the sweep is their union.

    sweep:
      - strategy=feature_extraction head=logistic,ridge
      - strategy=finetune optimizer.lr=1e-4,1e-3

What the command line sweeps too (`seed=0,1,2`) multiplies every line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from headstart.config.paths import make_path
from headstart.errors import UserError
from headstart.preflight.parse import parse_overrides
from headstart.preflight.quoting import TextKeys, quote, split_items
from headstart.preflight.reasons import show_line
from headstart.preflight.sweep import list_axes

KEY = "sweep"
OPTION = "--sweep"
EXAMPLE = "[strategy=feature_extraction head=logistic,ridge, strategy=finetune optimizer.lr=1e-4,1e-3]"
SPACE = " \t\n"


@dataclass(frozen=True)
class Line:
    """One line of a sweep: its number, counted from 1, and its overrides."""

    number: int
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class Sweep:
    """What the jobs of a command are made of.

    Attributes:
        params: the overrides of `hydra.sweeper.params`; the others replace those of the same key.
        typed: those of the command line; they replace all others.
        lines: each gives jobs of its own; None: there is no list.
    """

    params: Sequence[Override]
    typed: Sequence[Override]
    lines: Sequence[Line] | None = None

    @property
    def overrides(self) -> list[Override]:
        """All overrides, of all lines."""
        return [*self.params, *(each for line in self.lines or () for each in line.overrides), *self.typed]

    @property
    def common(self) -> dict[str, list[Override]]:
        """The values of the keys that all jobs have in common, whatever their line."""
        return list_axes([*self.params, *self.typed])

    def list_products(self) -> list[tuple[int | None, dict[str, list[Override]]]]:
        """The products that together are the sweep: the number of the line, and the values of each key."""
        if self.lines is None:
            return [(None, self.common)]
        return [(line.number, list_axes([*self.params, *line.overrides, *self.typed])) for line in self.lines]


def expand_option(argv: Sequence[str]) -> list[str]:
    """Put what a file holds in the place of `--sweep FILE`: `-m` and the override `sweep=[…]`.

    Raises:
        UserError: the file cannot be read, or holds no list of lines.
    """
    words, rest = [], list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, path = word.partition("=")
        if name != OPTION:
            words.append(word)
            continue
        if not equals and not rest:
            raise UserError(f"{OPTION}: the file is missing; write {OPTION} FILE")
        lines = _read_file(make_path(path if equals else rest.pop(0)))
        words += ["-m", f"++{KEY}=[{','.join(map(quote, lines))}]"]
    return words


def _read_file(path: Path) -> list[str]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{OPTION} {path}: cannot be read ({str(error).partition(chr(10))[0]})") from error
    lines = content.get(KEY) if isinstance(content, dict) else content
    if not _is_list_of_lines(lines):
        raise UserError(f"{OPTION} {path}: must hold a list of lines, or the key {KEY} with one, such as {EXAMPLE}")
    assert isinstance(lines, list)
    return lines


def _is_list_of_lines(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(line, str) and line.strip() for line in value)


def find_lines(composed: DictConfig) -> tuple[list[str], list[str]]:
    """Find the key `sweep` of a composed config; returns its problem, if there is one, and its lines."""
    if KEY not in composed:
        return [], []
    value: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, [KEY]), resolve=False)
    lines = value[KEY]
    if lines is None:
        return [], []
    if not _is_list_of_lines(lines):
        return [f"{KEY}: must be a list of lines of overrides, such as {EXAMPLE}"], []
    return [], lines


def parse_lines(
    lines: Sequence[str], parser: OverridesParser, texts: TextKeys, others: Sequence[str]
) -> tuple[list[tuple[int, str]], list[Line]]:
    """Parse the lines of a sweep; returns the problems with the number of their line, and the lines without one.

    Args:
        others: what all lines are combined with, as it was typed.
    """
    problems, good = [], []
    for number, line in enumerate(lines, 1):
        words = [word for word in split_items(line, SPACE) if word]
        quoted = texts.quote([*others, *words], multirun=True)[len(others) :]
        wrong, overrides = parse_overrides(parser, words, quoted, multirun=True)
        wrong += [
            f"{show_line(each.original_input_line or '')}: belongs to the whole sweep; put it on the command line"
            for each in overrides
            if each.is_hydra_override() or each.key_or_group == KEY
        ]
        problems += [(number, reason) for reason in wrong]
        if not wrong:
            good.append(Line(number, tuple(overrides)))
    return problems, good


def name_lines(found: Iterable[tuple[int | None, str]], common: Iterable[str] = ()) -> list[str]:
    """Say in which lines each problem is: `sweep, lines 1 and 3: …`.

    Args:
        found: numbers of lines, None for a problem outside of all lines, and the problem.
        common: problems that come from none of the lines.
    """
    numbers: dict[str, list[int]] = {}
    for number, problem in found:
        known = numbers.setdefault(problem, [])
        if number is not None and number not in known:
            known.append(number)
    common = set(common)
    return [
        f"{_spell_numbers(known)}: {problem}" if known and problem not in common else problem
        for problem, known in numbers.items()
    ]


def _spell_numbers(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers]
    if len(words) == 1:
        return f"{KEY}, line {words[0]}"
    return f"{KEY}, lines {', '.join(words[:-1])} and {words[-1]}"
