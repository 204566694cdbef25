"""Check the jobs of a command: each is composed once, the short way if its values can simply be set."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from headstart.config import keys
from headstart.config.machine import missing_hardware
from headstart.config.schema import RunConfig, to_plain
from headstart.config.validate import find_problems
from headstart.config.values import find_value_problems
from headstart.preflight.overrides import Composed, Composer, without_hydra
from headstart.preflight.reasons import as_line, as_typed, show_override
from headstart.storage.identity import find_folder

MOST_INVALID = 50  # jobs of a sweep, or of a line of one, that are composed to explain their problems


@dataclass(frozen=True)
class Job:
    """One run of a command: its overrides, its checked config, and the line of the sweep that it comes from, if any."""

    overrides: tuple[Override, ...]
    config: RunConfig
    line: int | None = None

    @property
    def task_overrides(self) -> list[str]:
        """The overrides as they were typed, without those of Hydra's own keys."""
        return [as_typed(override) for override in self.overrides if not override.is_hydra_override()]

    @property
    def lines(self) -> list[str]:
        """The same overrides as Hydra reads them."""
        return [as_line(override) for override in self.overrides if not override.is_hydra_override()]


@dataclass
class Checked:
    """The jobs without a problem, and the problems of the others, each with the number of its line, if it has one."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[int | None, str]] = field(default_factory=list)
    repeated: int = 0  # of lines: the same run as an earlier job


def check_jobs(composer: Composer, jobs: Iterable[tuple[int | None, list[Override]]], *, this_machine: bool) -> Checked:
    """Check each job once; of those that lines of a sweep give, a run that is there already is left out.

    Args:
        jobs: the overrides of each, after the number of its line.
        this_machine: also check whether this machine has the hardware for them.
    """
    checked = Checked()
    invalid: Counter[int | None] = Counter()
    folders: set[Path] = set()
    for line, overrides in jobs:
        config = composer.read_values(overrides)
        if config is None or not _is_valid(config, this_machine):
            invalid[line] += 1
            if invalid[line] > MOST_INVALID:
                continue
            problems, config = compose_job(composer, overrides, this_machine=this_machine)
            checked.problems += [(line, problem) for problem in problems]
        if config is None:
            continue
        if line is not None:
            folder = find_folder(to_plain(config), {})  # data and weights are the same for equal configs
            if folder in folders:
                checked.repeated += 1
                continue
            folders.add(folder)
        checked.jobs.append(Job(tuple(overrides), config, line))
    return checked


def _is_valid(config: RunConfig, this_machine: bool) -> bool:
    lacking = missing_hardware(config.hardware) if this_machine else ()
    return not any(itertools.chain(find_value_problems(config), lacking))


def compose_job(
    composer: Composer, overrides: list[Override], *, this_machine: bool
) -> tuple[list[str], RunConfig | None]:
    """Compose one job: every problem as a sentence, and the job's config if no value is missing."""
    composed = composer.compose(overrides)
    with composer.base(overrides).as_hydra_config():
        found, config = find_problems(without_hydra(composed.config), machine=this_machine)
    return [*composed.problems, *(_name_source(line, overrides, composed) for line in found)], config


def _name_source(line: str, overrides: Iterable[Override], composed: Composed) -> str:
    """Add to a problem the override or the file that caused it."""
    named = re.match(r"[\w.]+", line)
    if named is None:
        return line
    key = named.group().rstrip(".")
    by = [override for override in overrides if f"{key}.".startswith(f"{override.key_or_group}.")]
    if by:
        return line.replace(key, show_override(by[-1]), 1) if line.startswith(f"{key}: there is no such key") else line
    files = [path for path, content in composed.files if _contains(content, key.split("."))]
    return f"{line} (in {files[-1]})" if files else line


def _contains(node: Any, path: list[str]) -> bool:
    inner = dict(keys.list_items(node))
    return path[0] in inner and (len(path) == 1 or _contains(inner[path[0]], path[1:]))
