"""Check a whole `headstart train` command before anything runs.

Every job of the command is composed once and checked once: syntax, choices, keys, types, ranges, hardware, and what
only torch and timm know. The outcome is either one list of all problems or the checked jobs.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from headstart.config import environment, keys
from headstart.config.machine import missing_hardware
from headstart.config.schema import RunConfig
from headstart.config.validate import find_problems, raise_if_any
from headstart.config.values import find_value_problems
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composed, Composer, without_hydra
from headstart.preflight.parse import parse_overrides
from headstart.preflight.quoting import TextKeys
from headstart.preflight.reasons import as_typed, first_line, show_override
from headstart.preflight.sweep import combine_all, find_sweep_in_files, list_axes, use_each_value_once
from headstart.storage.redact import refuse_secrets_in_config

# An optimizing sweeper runs a part of its combinations. If there are more than this, each value is checked once.
MOST_COMBINATIONS = 200
MOST_INVALID = 50  # jobs of a sweep that are composed to explain their problems; more would repeat these
# Keys that only torch and timm can check. That takes 4 s: it is done if such a key is set, or if nothing else is wrong.
LIBRARIES = re.compile(
    r"(imports|optimizer|scheduler|data\.source|model\.(name|args)|head\.probe|strategy\.phases\.\w+\.(probe|penalty))\b"
)
PLAIN = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "scheduler")


@dataclass(frozen=True)
class Job:
    """One run of a command: its overrides, and its checked config."""

    overrides: tuple[Override, ...]
    config: RunConfig

    @property
    def task_overrides(self) -> list[str]:
        """The overrides as they were typed, without those of Hydra's own keys."""
        return [as_typed(override) for override in self.overrides if not override.is_hydra_override()]


@dataclass
class Command:
    """The outcome of the check: every problem as a sentence, and the jobs without a problem."""

    problems: list[str]
    jobs: list[Job] = field(default_factory=list)
    combinations: int = 0  # of the sweep; if they are too many, fewer jobs are checked
    multirun: bool = False
    sequential: bool = True  # whether the jobs run one after the other in this process, as Hydra does by default
    sweep_in_files: dict[str, str] = field(default_factory=dict)  # `hydra.sweeper.params`
    loader: Loader | None = None
    composer: Composer | None = None
    shared: tuple[Override, ...] = ()  # the overrides that all jobs have in common


def check_command(argv: Sequence[str]) -> Command:
    """Check `headstart train ARGV` and return its jobs.

    Raises:
        UserError: lists every problem of the command; nothing has run.
    """
    command = examine(argv, libraries=True)
    raise_if_any(command.problems)
    for job in command.jobs:
        refuse_secrets_in_config(asdict(job.config))
    return command


def check_composed(composed: DictConfig, *, machine: bool = True) -> RunConfig:
    """Check the config of a job that Hydra composed for a launcher or an optimizing sweeper, or that a run has kept.

    Args:
        machine: also check that this machine has the devices and the files of weights.

    Raises:
        UserError: lists every problem of the config.
    """
    from headstart.preflight.components import Components

    problems, config = find_problems(composed, machine=machine)
    raise_if_any(problems or ([] if config is None else Components(machine=machine).find_problems(config)))
    assert config is not None
    refuse_secrets_in_config(asdict(config))
    return config


def examine(argv: Sequence[str], *, libraries: bool, machine: bool = True) -> Command:
    """Find what is wrong with `headstart train ARGV`, as far as this is possible before data and weights are read.

    Args:
        libraries: if nothing else is wrong, also check what only torch and timm know.
        machine: the jobs will run on this machine: also check that it has the devices and the files of weights.
    """
    register_resolvers()
    environment.forget()
    arguments = parse_arguments(argv)
    found = []
    if arguments.config_dir is not None and not Path(arguments.config_dir).is_dir():
        found = [f"--config-dir {arguments.config_dir}: there is no such folder"]
        arguments.config_dir = None
    loader = Loader(arguments.config_name or "config", arguments.config_dir, arguments.config_path)
    composer = Composer(loader)
    multirun = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
    texts = TextKeys(composer)
    quoted = texts.quote(arguments.overrides, multirun=multirun)
    wrong, overrides = parse_overrides(loader.parser, arguments.overrides, quoted, multirun)
    found += wrong
    fixed = [override for override in overrides if not override.is_sweep_override()]
    try:
        shared = composer.compose(fixed)
    except Exception as error:  # not even the primary config can be read
        return Command([*found, first_line(error)])
    # Hydra's own keys are the same for all jobs, so they are checked once
    found += composer.compose([override for override in fixed if override.is_hydra_override()]).problems
    multirun = multirun or str(OmegaConf.select(shared.config, "hydra.mode")).endswith("MULTIRUN")
    command = Command(found, multirun=multirun, loader=loader, composer=composer, shared=tuple(fixed))
    plugins = [str(OmegaConf.select(shared.config, f"hydra.{name}._target_")) for name in ("sweeper", "launcher")]
    command.sequential = all(".basic_" in name for name in plugins)
    this_machine = machine and ".basic_" in plugins[1]  # other launchers run jobs on machines that are not known here
    if multirun:
        command.sweep_in_files = find_sweep_in_files(shared.config)
        lines = [f"{key}={value}" for key, value in command.sweep_in_files.items()]
        wrong, swept = parse_overrides(loader.parser, lines, texts.quote(lines, multirun=True), multirun)
        command.problems += wrong
        overrides = [*swept, *overrides]
    _check_jobs(command, _list_jobs(command, overrides, ".basic_" in plugins[0]), this_machine)
    if (libraries and not command.problems) or _needs_libraries(overrides, shared):
        command.problems += _component_problems(command.jobs, trial=not command.problems, machine=machine)
    by_cause = {line.partition("; did you mean")[0]: line for line in command.problems}
    command.problems = list(by_cause.values())
    return command


def _list_jobs(command: Command, overrides: list[Override], runs_all: bool) -> Iterator[list[Override]]:
    """The overrides of each job, and their number as `command.combinations`.

    Args:
        runs_all: the sweeper runs every combination; an optimizing one runs only a part of them.
    """
    axes = list_axes(overrides) if command.multirun else {}
    command.combinations = math.prod(map(len, axes.values()))
    if not command.multirun:
        return iter([overrides])
    few = command.combinations <= MOST_COMBINATIONS
    return combine_all(axes) if runs_all or few else use_each_value_once(axes)


def _check_jobs(command: Command, jobs: Iterable[list[Override]], this_machine: bool) -> None:
    """Add each job to the command, or its problems."""
    assert command.composer is not None
    invalid = 0
    for overrides in jobs:
        config = command.composer.read_values(overrides)
        if config is None or not _is_valid(config, this_machine):
            invalid += 1
            if invalid > MOST_INVALID:
                continue
            problems, config = compose_job(command.composer, overrides, this_machine=this_machine)
            command.problems += problems
        if config is not None:
            command.jobs.append(Job(tuple(overrides), config))


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


def _component_problems(jobs: Iterable[Job], *, trial: bool, machine: bool) -> list[str]:
    """The problems that only torch and timm can find in the parts and networks of the jobs."""
    import torch  # noqa: F401 if it fails later, Hydra hides why, and torch refuses a second attempt

    from headstart.preflight.components import Components

    components = Components(trial=trial, machine=machine)
    return [problem for job in jobs for problem in components.find_problems(job.config)]


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


def _needs_libraries(overrides: Iterable[Override], shared: Composed) -> bool:
    """Whether the user set, on the command line or in an own file, a key that only torch and timm can check."""
    touched = {override.key_or_group for override in overrides}
    touched |= {key for _, content in shared.files for key in keys.present_keys(content)}
    touched &= set(keys.present_keys(without_hydra(shared.config)))
    return any(LIBRARIES.match(key) and key not in PLAIN for key in touched)
