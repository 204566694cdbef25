"""All that is wrong with a ``headstart train`` command, told at once: syntax, choices, keys, types, ranges, machine.

Hydra reports the first bad override, in its own words. This goes through the overrides and the user's own files
again. A single job comes here only when it has failed; a sweep always, before its first job starts.
"""

import itertools
import math
import os
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from headstart.config import keys, resolvers, validate
from headstart.config.schema import RunConfig
from headstart.preflight.overrides import Composed, Composer, first_line, show_line, show_override

MOST_JOBS = 200  # of a sweep are checked in every combination, 30 ms each; in a larger one every value is, once
# What only the libraries can judge; they are asked (4 s) if somebody set such a key, or if nothing else is wrong.
LIBRARIES = re.compile(
    r"(optimizer|scheduler|data\.source|model\.(name|args)|head\.probe|strategy\.phases\.\w+\.(probe|penalty))\b"
)
PLAIN = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "scheduler")


class Examined(NamedTuple):
    """What there is to say of a command: every problem in words, and the typed configs of its jobs that have none."""

    problems: list[str]
    jobs: list[RunConfig]
    combinations: int  # that it sweeps over: more than were looked at, where they are too many


def of_command(argv: list[str], *, libraries: bool) -> list[str]:
    """Every problem of ``headstart train ARGV`` in words, as far as it can be told before data and weights are read.

    Args:
        libraries: where nothing else is wrong, ask torch and timm too.
    """
    return examined(argv, libraries=libraries).problems


def examined(argv: list[str], *, libraries: bool, machine: bool = True) -> Examined:
    """What is wrong with ``headstart train ARGV``, and its jobs.

    Args:
        libraries: where nothing else is wrong, ask torch and timm too.
        machine: the jobs are to run here, so look for what they need: devices, and files of weights.
    """
    resolvers.register()
    setup_globals()
    arguments = get_args_parser().parse_intermixed_args(argv)
    multirun = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
    found = []
    if arguments.config_dir is not None and not Path(arguments.config_dir).is_dir():
        found = [f"--config-dir {arguments.config_dir}: there is no such folder"]
        arguments.config_dir = None
    loader = _loader(arguments)
    composer = Composer(loader, arguments.config_name or "config")
    parser = OverridesParser.create(config_loader=loader)
    wrong, overrides = _parsed(parser, arguments.overrides, multirun)
    found += wrong
    try:
        shared = composer.compose([override for override in overrides if not override.is_sweep_override()])
    except Exception as error:  # not even the primary config can be had
        return Examined([*found, first_line(error)], [], 0)
    if multirun:
        wrong, swept = _parsed(parser, _swept_in_files(shared.config), multirun)
        found, overrides = [*found, *wrong], [*swept, *overrides]
    configs_: list[RunConfig] = []
    axes = _axes(overrides) if multirun else {}
    for job in _jobs(axes) if multirun else [overrides]:
        composed = composer.compose(job)
        problems, config = _of_job(composed, job, machine)
        found += problems
        configs_ += [config] if config else []
    if (libraries and not found) or _libraries_needed(overrides, shared):
        found += of_components(configs_, trial=not found, machine=machine)
    told = {line.partition("; did you mean")[0]: line for line in found}
    return Examined(list(told.values()), configs_, math.prod(map(len, axes.values())))


def of_composed(composed: DictConfig) -> list[str]:
    """Every problem of one job's composed config; what only torch and timm can tell, if nothing else is wrong."""
    found, config = validate.find_problems(without_hydra(composed), machine=True)
    return found or of_components([config] if config else [])


def of_components(jobs: Iterable[RunConfig], *, trial: bool = True, machine: bool = True) -> list[str]:
    """What the libraries say about the parts and networks of ``jobs``; each that differs is asked about once."""
    from headstart.preflight import components

    found: list[str] = []
    seen = set()
    for config in jobs:
        parts = (config.optimizer, config.scheduler, config.data.source, config.model, config.strategy.phases)
        if repr(parts) not in seen:
            seen.add(repr(parts))
            found += components.problems(config, trial=trial, machine=machine)
    return found


def without_hydra(composed: DictConfig) -> DictConfig:
    """The part of a composed config that is the run's."""
    return OmegaConf.masked_copy(composed, [str(name) for name in composed if name != "hydra"])


def _loader(arguments: Namespace) -> ConfigLoaderImpl:
    """Reads configs from where Hydra would for this command line."""
    search_path = create_config_search_path(arguments.config_path or str(resolvers.config_folder()))
    if arguments.config_dir is not None:
        place = f"file://{os.path.abspath(arguments.config_dir)}"  # noqa: PTH100 - as Hydra does, links and all
        search_path.prepend(provider="command-line", path=place, anchor=SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(search_path)


def _parsed(parser: OverridesParser, lines: Iterable[str], multirun: bool) -> tuple[list[str], list[Override]]:
    """What is wrong with the overrides as such, and those that can be understood."""
    found, good = [], []
    for line in lines:
        try:
            override = parser.parse_overrides([line])[0]
        except Exception as error:
            found.append(f"{show_line(line)}: {_misspelt(line, error)}")
            continue
        key = override.get_key_element()
        if not override.key_or_group:
            found.append(f"{show_line(line)}: the key is missing; write name=value, e.g. seed=1")
        elif override.is_sweep_override() and not multirun:
            found.append(
                f"{show_override(override)}: several values are a sweep: add -m; a list is written {key}=[a,b]"
            )
        elif override.is_sweep_override() and override.is_hydra_override():
            found.append(f"{show_override(override)}: Hydra's own keys cannot be swept; give it one value")
        elif override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            found.append(f"{show_override(override)}: names no value at all; give one or more, e.g. {key}=a,b")
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
    for override in overrides:
        if not override.is_sweep_override():
            axes[override.get_key_element()] = [override]
        elif override.is_discrete_sweep():  # of an interval an optimizing sweeper picks the values
            key, parser = override.get_key_element(), OverridesParser.create()
            axes[key] = [parser.parse_override(f"{key}={value}") for value in override.sweep_string_iterator()]
    return axes


def _jobs(axes: dict[str, list[Override]]) -> Iterator[list[Override]]:
    """The jobs of a sweep: every combination, or if they are too many every value once."""
    if math.prod(map(len, axes.values())) <= MOST_JOBS:
        yield from map(list, itertools.product(*axes.values()))
        return
    first = {key: values[0] for key, values in axes.items()}
    yield list(first.values())
    for key, values in axes.items():
        yield from (list((first | {key: value}).values()) for value in values[1:])


def _of_job(composed: Composed, overrides: list[Override], machine: bool) -> tuple[list[str], RunConfig | None]:
    launcher = OmegaConf.select(composed.config, "hydra.launcher._target_")
    here = machine and ".basic_" in str(launcher)  # others run jobs on machines that cannot be asked
    found, config = validate.find_problems(without_hydra(composed.config), machine=here)
    return [*composed.problems, *(_placed(line, overrides, composed) for line in found)], config


def _placed(line: str, overrides: list[Override], composed: Composed) -> str:
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


def _libraries_needed(overrides: list[Override], shared: Composed) -> bool:
    """Whether somebody set, on the command line or in a file of his own, what only the libraries can judge."""
    touched = {override.key_or_group for override in overrides}
    touched |= {key for _, content in shared.files for key in keys.present_keys(content)}
    touched &= set(keys.present_keys(without_hydra(shared.config)))
    return any(LIBRARIES.match(key) and key not in PLAIN for key in touched)
