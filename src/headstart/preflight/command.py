"""All that can be wrong with a ``headstart train`` command, looked at once, before anything runs.

Every job of the command is composed once and checked once: syntax, choices, keys, types, ranges, the machine, and,
where only they can judge, torch and timm. What comes out is either one list of problems or the checked jobs.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from headstart.config import keys, resolvers
from headstart.config.machine import missing_hardware
from headstart.config.schema import RunConfig
from headstart.config.validate import find_problems, raise_if_any
from headstart.config.values import find_value_problems
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composed, Composer, without_hydra
from headstart.preflight.reasons import as_typed, first_line, show_line, show_override
from headstart.storage.redact import refuse_secrets_in_config

# An optimizing sweeper picks from its space: of a space with more combinations, every value is looked at, once.
MOST_COMBINATIONS = 200
MOST_UNSOUND = 50  # jobs of a sweep that are composed to say what is wrong with them; further ones would say the same
# What only the libraries can judge; they are asked (4 s) if somebody set such a key, or if nothing else is wrong.
LIBRARIES = re.compile(
    r"(optimizer|scheduler|data\.source|model\.(name|args)|head\.probe|strategy\.phases\.\w+\.(probe|penalty))\b"
)
PLAIN = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "scheduler")


@dataclass(frozen=True)
class Job:
    """One run of a command: its overrides, and the config that they make."""

    overrides: tuple[Override, ...]
    config: RunConfig

    @property
    def task_overrides(self) -> list[str]:
        """The overrides as they were typed, less those of Hydra's own keys."""
        return [as_typed(override) for override in self.overrides if not override.is_hydra_override()]


@dataclass
class Command:
    """What there is to say of a command: every problem in words, and the jobs that have none."""

    problems: list[str]
    jobs: list[Job] = field(default_factory=list)
    combinations: int = 0  # that it sweeps over: more than were looked at, where they are too many
    multirun: bool = False
    sequential: bool = True  # whether the jobs run one after the other in this process, as Hydra does by default
    loader: Loader | None = None
    composer: Composer | None = None
    shared: tuple[Override, ...] = ()  # what all jobs have in common


def check_command(argv: Sequence[str]) -> Command:
    """The checked jobs of ``headstart train ARGV``.

    Raises:
        UserError: lists everything that is wrong with it; nothing has run.
    """
    command = examine(argv, libraries=True)
    raise_if_any(command.problems)
    for job in command.jobs:
        refuse_secrets_in_config(asdict(job.config))
    return command


def check_composed(composed: DictConfig) -> RunConfig:
    """The checked config of a job that Hydra composed elsewhere, for a launcher or an optimizing sweeper.

    Raises:
        UserError: lists everything that is wrong with it.
    """
    from headstart.preflight.components import Components

    problems, config = find_problems(composed, machine=True)
    raise_if_any(problems or ([] if config is None else Components().find_problems(config)))
    assert config is not None
    refuse_secrets_in_config(asdict(config))
    return config


def examine(argv: Sequence[str], *, libraries: bool, machine: bool = True) -> Command:
    """What is wrong with ``headstart train ARGV``, as far as it can be told before data and weights are read.

    Args:
        libraries: where nothing else is wrong, ask torch and timm too.
        machine: the jobs are to run here, so look for what they need: devices, and files of weights.
    """
    resolvers.register()
    arguments = parse_arguments(argv)
    found = []
    if arguments.config_dir is not None and not Path(arguments.config_dir).is_dir():
        found = [f"--config-dir {arguments.config_dir}: there is no such folder"]
        arguments.config_dir = None
    loader = Loader(arguments.config_name or "config", arguments.config_dir, arguments.config_path)
    composer = Composer(loader)
    multirun = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
    wrong, overrides = _parse(loader.parser, arguments.overrides, multirun)
    found += wrong
    fixed = [override for override in overrides if not override.is_sweep_override()]
    try:
        shared = composer.compose(fixed)
    except Exception as error:  # not even the primary config can be had
        return Command([*found, first_line(error)])
    # Hydra's own keys are the same for all jobs: a mistake in them is looked for once
    command_problems = composer.compose([each for each in fixed if each.is_hydra_override()]).problems
    multirun = multirun or str(OmegaConf.select(shared.config, "hydra.mode")).endswith("MULTIRUN")
    command = Command(
        [*found, *command_problems], multirun=multirun, loader=loader, composer=composer, shared=tuple(fixed)
    )
    plugins = [str(OmegaConf.select(shared.config, f"hydra.{name}._target_")) for name in ("sweeper", "launcher")]
    command.sequential = all(".basic_" in name for name in plugins)
    here = machine and ".basic_" in plugins[1]  # other launchers run jobs on machines that cannot be asked
    if multirun:
        wrong, swept = _parse(loader.parser, _swept_in_files(shared.config), multirun)
        command.problems += wrong
        overrides = [*swept, *overrides]
    axes = _axes(overrides) if multirun else {}
    command.combinations = math.prod(map(len, axes.values()))
    few = ".basic_" in plugins[0] or command.combinations <= MOST_COMBINATIONS
    jobs = (_products(axes) if few else _each_value_once(axes)) if multirun else iter([overrides])
    _check_jobs(command, jobs, here)
    if (libraries and not command.problems) or _libraries_needed(overrides, shared):
        command.problems += _component_problems(command.jobs, trial=not command.problems, machine=machine)
    by_cause = {line.partition("; did you mean")[0]: line for line in command.problems}
    command.problems = list(by_cause.values())
    return command


def _check_jobs(command: Command, jobs: Iterable[list[Override]], here: bool) -> None:
    """Add each job to the command, or what is wrong with it."""
    assert command.composer is not None
    unsound = 0
    for overrides in jobs:
        config = command.composer.read_values(overrides)
        if config is None or not _is_sound(config, here):
            unsound += 1
            if unsound > MOST_UNSOUND:
                continue
            problems, config = compose_job(command.composer, overrides, here=here)
            command.problems += problems
        if config is not None:
            command.jobs.append(Job(tuple(overrides), config))


def _is_sound(config: RunConfig, here: bool) -> bool:
    lacking = missing_hardware(config.hardware) if here else ()
    return not any(itertools.chain(find_value_problems(config), lacking))


def compose_job(composer: Composer, overrides: list[Override], *, here: bool) -> tuple[list[str], RunConfig | None]:
    """Every problem of one job, in words, and its config if it has no gaps."""
    composed = composer.compose(overrides)
    with composer.base(overrides).as_hydra_config():
        found, config = find_problems(without_hydra(composed.config), machine=here)
    return [*composed.problems, *(_placed(line, overrides, composed) for line in found)], config


def _component_problems(jobs: Iterable[Job], *, trial: bool, machine: bool) -> list[str]:
    """What the libraries say about the parts and networks of the jobs."""
    from headstart.preflight.components import Components

    components = Components(trial=trial, machine=machine)
    return [problem for job in jobs for problem in components.find_problems(job.config)]


def _parse(parser: OverridesParser, lines: Iterable[str], multirun: bool) -> tuple[list[str], list[Override]]:
    """What is wrong with the overrides as such, and those that can be understood."""
    found, good = [], []
    for line in lines:
        try:
            override = parser.parse_overrides([line])[0]
        except Exception as error:
            found.append(f"{show_line(line)}: {_misspelt(line, error)}")
            continue
        key, shown = override.get_key_element(), show_override(override)
        if not override.key_or_group:
            found.append(f"{show_line(line)}: the key is missing; write name=value, e.g. seed=1")
        elif override.is_sweep_override() and not multirun:
            found.append(f"{shown}: several values are a sweep: add -m; a list is written {key}=[a,b]")
        elif override.is_sweep_override() and override.is_hydra_override():
            found.append(f"{shown}: Hydra's own keys cannot be swept; give it one value")
        elif override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            found.append(f"{shown}: names no value at all; give one or more, e.g. {key}=a,b")
        else:
            good.append(override)
    return found, good


def _misspelt(line: str, error: Exception) -> str:
    name = line.lstrip("+~")
    if not re.match(r"[\w.@/]", name):
        return "is no override; write name=value, e.g. seed=1"
    if "=" not in line:
        near = [] if keys.kind_of(name) else keys.nearest(name, keys.schema_keys())
        return f"the value is missing; write {near[0] if near else name}=value"
    reason = [text.strip() for text in str(error).splitlines() if text.strip() and "Error" not in text]
    return f"cannot be read ({reason[0] if reason else first_line(error)}); quote what is not plain: key='\"a [b\"'"


def _swept_in_files(composed: DictConfig) -> list[str]:
    """The overrides that an experiment file sweeps over by itself."""
    params = OmegaConf.select(composed, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def _axes(overrides: list[Override]) -> dict[str, list[Override]]:
    """The values that a sweep tries for each key, as overrides."""
    axes: dict[str, list[Override]] = {}
    parser = OverridesParser.create()
    for override in overrides:
        if not override.is_sweep_override():
            axes[override.get_key_element()] = [override]
        elif override.is_discrete_sweep():  # of an interval an optimizing sweeper picks the values
            key = override.get_key_element()
            axes[key] = [parser.parse_override(f"{key}={value}") for value in override.sweep_string_iterator()]
    return axes


def _products(axes: dict[str, list[Override]]) -> Iterator[list[Override]]:
    """The jobs of a sweep: every combination."""
    return map(list, itertools.product(*axes.values()))


def _each_value_once(axes: dict[str, list[Override]]) -> Iterator[list[Override]]:
    """Jobs in which every value of a sweep occurs."""
    first = {key: values[0] for key, values in axes.items()}
    yield list(first.values())
    for key, values in axes.items():
        yield from (list((first | {key: value}).values()) for value in values[1:])


def _placed(line: str, overrides: Iterable[Override], composed: Composed) -> str:
    """A problem with the override that brought it about, or the file."""
    named = re.match(r"[\w.]+", line)
    if named is None:
        return line
    key = named.group().rstrip(".")
    by = [override for override in overrides if f"{key}.".startswith(f"{override.key_or_group}.")]
    if by:
        return line.replace(key, show_override(by[-1]), 1) if line.startswith(f"{key}: there is no such key") else line
    files = [path for path, content in composed.files if _holds(content, key.split("."))]
    return f"{line} (in {files[-1]})" if files else line


def _holds(node: Any, path: list[str]) -> bool:
    inner = dict(keys.items(node))
    return path[0] in inner and (len(path) == 1 or _holds(inner[path[0]], path[1:]))


def _libraries_needed(overrides: Iterable[Override], shared: Composed) -> bool:
    """Whether somebody set, on the command line or in a file of his own, what only the libraries can judge."""
    touched = {override.key_or_group for override in overrides}
    touched |= {key for _, content in shared.files for key in keys.present_keys(content)}
    touched &= set(keys.present_keys(without_hydra(shared.config)))
    return any(LIBRARIES.match(key) and key not in PLAIN for key in touched)
