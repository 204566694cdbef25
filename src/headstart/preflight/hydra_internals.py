"""The private parts of Hydra that headstart uses, all of them, each with the reason why no public part will do.

=============================  =====================================================================================
``ConfigLoaderImpl``           `hydra.compose` stops at the first mistake, gives the config without the files that it
                               came from, and takes 0.2 s a job. Here the files are read once for all jobs that choose
                               the same ones, and a mistake is named with its file.
``create_defaults_list``       tells which files a list of choices stands for.
``get_args_parser``,           read the command line as `hydra.main` reads it; `hydra.main` offers neither the parsed
``create_config_search_path``  arguments nor the search path.
``BasicSweeper``               hands batches of jobs to a launcher; the public `Sweeper` is only an interface.
``Callbacks``                  `hydra.core.utils.run_job`, which is public, asks for one.
=============================  =====================================================================================

The requirement in ``pyproject.toml`` pins Hydra's version; ``tests/preflight/test_hydra_internals.py`` compares what
comes out with `hydra.compose`.
"""

import os
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import __version__ as hydra_version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from headstart.config import environment
from headstart.config.resolvers import WANDB_SWEEP, config_folder


def parse_arguments(argv: Sequence[str]) -> Namespace:
    """The arguments of ``headstart train`` as `hydra.main` would parse them; exits as argparse does where it cannot."""
    setup_globals()
    return get_args_parser().parse_intermixed_args(list(argv))


@dataclass(frozen=True)
class Defaults:
    """The files that a list of choices stands for, in the order in which they are merged."""

    entries: Sequence[ResultDefault]
    choices: Mapping[str, str | None]  # group: the option that was chosen
    repository: CachingConfigRepository


class Loader:
    """Reads configs from where Hydra would for this command line.

    Args:
        config_dir: a folder of the user's own that comes before headstart's, or None.
        config_path: a folder that takes the place of headstart's ``conf/``, or None.
    """

    def __init__(self, config_name: str, config_dir: str | None = None, config_path: str | None = None) -> None:
        search_path = create_config_search_path(config_path or str(config_folder()))
        if config_dir is not None:
            place = f"file://{os.path.abspath(config_dir)}"  # noqa: PTH100 - as Hydra does, links and all
            search_path.prepend(provider="command-line", path=place, anchor=SearchPathQuery(provider="schema"))
        self._loader = ConfigLoaderImpl(search_path)
        self._name = config_name
        self._groups: dict[str, bool] = {}
        self.parser = OverridesParser.create(config_loader=self._loader)

    def has_group(self, group: str) -> bool:
        """Whether there is such a config group."""
        if group not in self._groups:
            self._groups[group] = bool(self._loader.repository.group_exists(group))
        return self._groups[group]

    def options(self, group: str) -> list[str]:
        """The choices that a config group offers."""
        return list(self._loader.repository.get_group_options(group))

    def has_option(self, group: str, name: str) -> bool:
        """Whether a config group offers this choice."""
        return bool(self._loader.repository.config_exists(f"{group}/{name}"))

    def groups(self) -> list[str]:
        """The config groups, without Hydra's own, those inside others, and the folder that is none."""
        found = self._loader.repository.get_group_options("", results_filter=ObjectType.GROUP)
        return [name for name in found if name not in ("hydra", WANDB_SWEEP)]

    def read_option(self, group: str, name: str) -> tuple[Path | None, bool, Any]:
        """The file of a choice, whether its keys count from the top of the config, and its content."""
        loaded = self._loader.repository.load_config(f"{group}/{name}")
        if loaded is None:
            return None, False, OmegaConf.create()
        root = loaded.path.removeprefix("file://") if loaded.path.startswith("file://") else None
        path = None if root is None else Path(root) / group / f"{name}.yaml"
        return path, loaded.header.get("package") == "_global_", loaded.config

    def defaults(self, choices: Sequence[str]) -> Defaults:
        """The files that overrides such as ``model=resnet18`` choose; raises what Hydra raises for a bad one."""
        parsed, repository = self._loader._parse_overrides_and_create_caching_repo(self._name, list(choices))
        found = create_defaults_list(
            repo=repository, config_name=self._name, overrides_list=parsed, prepend_hydra=True, skip_missing=False
        )
        return Defaults(found.defaults, dict(found.overrides.known_choices), repository)

    def read(self, entry: ResultDefault, defaults: Defaults) -> tuple[str | None, Any]:
        """Where one of the files lies (``file://…``), and its content at its place in the config."""
        loaded = self._loader._load_single_config(default=entry, repo=defaults.repository)
        return loaded.path, loaded.config

    def apply(self, overrides: list[Override], config: DictConfig) -> None:
        """Set values in place, as ``key=value``, ``+key=value``, ``~key`` and their kin ask for."""
        self._loader._apply_overrides_to_config(overrides, config)

    def complete(self, config: DictConfig, defaults: Defaults, overrides: Iterable[Override]) -> None:
        """Fill in what ``${hydra:…}`` may ask for: the choices, the overrides, the place."""
        with open_dict(config.hydra):
            config.hydra.runtime.choices.update(defaults.choices)
            for override in overrides:
                kind = "hydra" if override.is_hydra_override() else "task"
                config.hydra.overrides[kind].append(override.input_line)
            for key in config.hydra.job.env_copy:
                config.hydra.job.env_set[key] = os.environ[key]
                environment.remember(key, os.environ[key])  # Hydra writes this config
            config.hydra.runtime.version = hydra_version
            config.hydra.runtime.cwd = os.getcwd()  # noqa: PTH109 - as Hydra does
            config.hydra.job.config_name = self._name

    def context(self, config: DictConfig, whitelist: Sequence[str]) -> tuple[HydraContext, Callbacks]:
        """What `hydra.core.utils.run_job` asks for, and the callbacks that ``hydra.callbacks`` names."""
        callbacks = Callbacks(OmegaConf.masked_copy(config, "hydra"))
        return HydraContext(self._loader, callbacks, execution_whitelist=list(whitelist)), callbacks
