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

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from headstart.config import environment, keys
from headstart.config.schema import RunConfig
from headstart.config.validate import find_problems, raise_if_any
from headstart.preflight import launcher, slurm
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.jobs import MOST_INVALID, Job, check_jobs, compose_job
from headstart.preflight.launcher import Ray
from headstart.preflight.lines import KEY, Sweep, find_lines, name_lines, parse_lines
from headstart.preflight.overrides import Composed, Composer, without_hydra
from headstart.preflight.parse import parse_overrides
from headstart.preflight.quoting import TextKeys
from headstart.preflight.reasons import first_line
from headstart.preflight.slurm import Slurm
from headstart.preflight.sweep import combine_all, find_sweep_in_files, use_each_value_once
from headstart.search.plan import Plan, read_plan
from headstart.storage.redact import refuse_secrets_in_config

# An optimizing sweeper runs a part of its combinations. If there are more than this, each value is checked once.
MOST_COMBINATIONS = 200
# Keys that only torch and timm can check. That takes 4 s: it is done if such a key is set, or if nothing else is wrong.
LIBRARIES = re.compile(
    r"(imports|optimizer|scheduler|data\.source|model\.(name|args)|head\.probe|strategy\.phases\.\w+\.(probe|penalty))\b"
)
# The sweepers that run every combination: ours, and Hydra's basic one
LISTING = ("sweeper.ListedJobs", "basic_sweeper.BasicSweeper")
SEARCH = "search.Search"
PLAIN = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "scheduler")


@dataclass
class Command:
    """The outcome of the check: every problem as a sentence, and the jobs without a problem."""

    problems: list[str]
    jobs: list[Job] = field(default_factory=list)
    combinations: int = 0  # of the sweep; if they are too many, fewer jobs are checked
    repeated: int = 0  # combinations that are the same run as an earlier one, in a sweep with lines
    multirun: bool = False
    runs_all: bool = True  # of the sweep's combinations; an optimizing sweeper runs some of them
    listed: bool = True  # whether headstart runs the jobs: one after the other in this process, or by Ray or Slurm
    ray: Ray | None = None  # how, if they run by Ray
    slurm: Slurm | None = None  # how, if they run by Slurm
    search: Plan | None = None  # of headstart's own sweeper; `jobs` are then samples that have been checked
    sweep_in_files: dict[str, str] = field(default_factory=dict)  # `hydra.sweeper.params`
    loader: Loader | None = None
    composer: Composer | None = None
    shared: tuple[Override, ...] = ()  # the overrides that all jobs have in common
    axes: dict[str, list[Override]] = field(default_factory=dict)  # the values of each key, those of lines left out


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

    problems, config = find_problems(without_hydra(composed), machine=machine)
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
    # Hydra's own keys are the same for all jobs, so they are checked once, with the files that may choose a sweeper
    found += composer.compose([each for each in fixed if each.is_hydra_override() or composer.chooses(each)]).problems
    multirun = multirun or str(OmegaConf.select(shared.config, "hydra.mode")).endswith("MULTIRUN")
    command = Command(found, multirun=multirun, loader=loader, composer=composer, shared=tuple(fixed))
    searches = multirun and str(OmegaConf.select(shared.config, "hydra.sweeper._target_")).endswith(SEARCH)
    # other launchers run jobs on machines that are not known here
    this_machine = _read_engines(command, shared.config, searches=searches, machine=machine) and machine
    typed = [override for override in overrides if override.key_or_group != KEY]
    if not multirun and len(typed) < len(overrides):
        command.problems.append(f"{KEY}: a list of jobs is a sweep: add -m")
    sweep, told = _read_sweep(command, shared.config, texts, arguments.overrides, typed)
    if searches:
        _read_search(command, sweep, shared.config)
    checked = check_jobs(composer, _list_jobs(command, sweep), this_machine=this_machine)
    command.jobs, command.repeated = checked.jobs, checked.repeated
    if not command.problems:
        command.problems += slurm.find_job_problems(command.slurm, [job.config.hardware for job in command.jobs])
    if told := [*told, *checked.problems]:
        command.problems += name_lines(told, _find_common_problems(composer, sweep, this_machine))
    if (libraries and not command.problems) or _needs_libraries(sweep.overrides, shared):
        command.problems += _component_problems(command.jobs, trial=not command.problems, machine=machine)
    by_cause = {line.partition("; did you mean")[0]: line for line in command.problems}
    command.problems = list(by_cause.values())
    return command


def _read_engines(command: Command, shared: DictConfig, *, searches: bool, machine: bool) -> bool:
    """Read which sweeper chooses the jobs, and which launcher runs them; returns whether they run on this machine."""
    sweeper, runner = (str(OmegaConf.select(shared, f"hydra.{name}._target_")) for name in ("sweeper", "launcher"))
    command.runs_all = sweeper.endswith(LISTING)
    here = ".basic_" in runner
    if command.multirun and launcher.is_ray(shared):
        command.problems += launcher.find_problems(shared, runs_all=command.runs_all or searches)
        command.ray = launcher.read_settings(shared)
        here = command.ray.address is None
    elif slurm.is_slurm(shared):
        command.problems += slurm.find_problems(
            shared, multirun=command.multirun, runs_all=command.runs_all or searches
        )
        command.problems += slurm.find_missing() if machine else ()
        command.slurm = slurm.read_settings(shared) if not command.problems else None
        here = False
    command.listed = command.runs_all and (here or command.ray is not None or command.slurm is not None)
    return here


def _read_sweep(
    command: Command, shared: DictConfig, texts: TextKeys, arguments: Sequence[str], typed: list[Override]
) -> tuple[Sweep, list[tuple[int | None, str]]]:
    """Read the sweep that files contain, and combine it with the overrides that were typed.

    Returns:
        Also the problems of its lines, with their numbers.
    """
    if not command.multirun:
        return Sweep([], typed), []
    assert command.loader is not None
    command.sweep_in_files = find_sweep_in_files(shared)
    params = [f"{key}={value}" for key, value in command.sweep_in_files.items()]
    parser = command.loader.parser
    wrong, swept = parse_overrides(parser, params, texts.quote(params, multirun=True), multirun=True)
    missing, written = find_lines(shared)
    command.problems += [*wrong, *missing]
    if not written:
        return Sweep(swept, typed), []
    if not command.runs_all:
        command.problems.append(f"{KEY}: names the jobs, and hydra/sweeper chooses its own: leave one of them out")
    told, lines = parse_lines(written, parser, texts, [*params, *arguments])
    return Sweep(swept, typed, lines), list(told)


def _read_search(command: Command, sweep: Sweep, shared: DictConfig) -> None:
    assert command.loader is not None
    overrides = [*sweep.params, *sweep.typed]
    groups = [override.key_or_group for override in overrides if command.loader.has_group(override.key_or_group)]
    problems, command.search = read_plan(shared, overrides, groups)
    command.problems += problems
    command.axes = sweep.common
    if ".basic_" not in str(OmegaConf.select(shared, "hydra.launcher._target_")):
        command.problems.append(
            "hydra/launcher: a search runs its trials one after the other in its own process; leave the launcher out, "
            "and start the same command in several terminals or jobs: they share the trials"
        )


def _list_jobs(command: Command, sweep: Sweep) -> Iterator[tuple[int | None, list[Override]]]:
    """The overrides of each job with the number of its line; their number is `command.combinations`."""
    if not command.multirun:
        command.combinations = 1
        return iter([(None, list(sweep.typed))])
    products = sweep.list_products()
    command.combinations = sum(math.prod(map(len, axes.values())) for _, axes in products)
    few = command.combinations <= MOST_COMBINATIONS and command.search is None
    combine = combine_all if command.runs_all or few else use_each_value_once
    return ((number, overrides) for number, axes in products for overrides in combine(axes))


def _find_common_problems(composer: Composer, sweep: Sweep, this_machine: bool) -> set[str]:
    """The problems that the jobs would have without the lines of the sweep."""
    if sweep.lines is None:
        return set()
    jobs = itertools.islice(use_each_value_once(sweep.common), MOST_INVALID)
    return {line for job in jobs for line in compose_job(composer, job, this_machine=this_machine)[0]}


def _component_problems(jobs: Iterable[Job], *, trial: bool, machine: bool) -> list[str]:
    """The problems that only torch and timm can find in the parts and networks of the jobs."""
    import torch  # noqa: F401 if it fails later, Hydra hides why, and torch refuses a second attempt

    from headstart.preflight.components import Components

    components = Components(trial=trial, machine=machine)
    return name_lines((job.line, problem) for job in jobs for problem in components.find_problems(job.config))


def _needs_libraries(overrides: Iterable[Override], shared: Composed) -> bool:
    """Whether the user set, on the command line or in an own file, a key that only torch and timm can check."""
    touched = {override.key_or_group for override in overrides}
    touched |= {key for _, content in shared.files for key in keys.present_keys(content)}
    touched &= set(keys.present_keys(without_hydra(shared.config)))
    return any(LIBRARIES.match(key) and key not in PLAIN for key in touched)
