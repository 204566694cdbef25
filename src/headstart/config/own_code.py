"""Import code of one's own: the modules under the key `imports`, and the plugins that installed packages declare.

A plugin is an entry point in the group `headstart.plugins` that names a module. A `_target_` may name what a package
of these modules defines; the networks that a module registers with timm exist from then on. Every process imports them
before it builds anything.
"""

import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from headstart.errors import UserError

GROUP = "headstart.plugins"
# Named under `imports`, one of these would make everything in it a possible `_target_`.
NOT_OWN = frozenset(
    {"headstart", "torch", "torchvision", "timm", "torchmetrics", "pytorch_lightning", "numpy", "hydra"}
)
_imported: dict[str, ModuleType] = {}


def check_names(names: Iterable[Any]) -> Iterator[str]:
    """Yield the problems of `imports` that can be found without importing anything."""
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
            yield f"imports: {name!r} is no module's name, such as mylab.birds"
        elif (top := top_package(name)) in NOT_OWN or top in sys.stdlib_module_names:
            yield f"imports: {name}: {top} is no code of your own; imports names modules of yours, such as mylab.birds"


def load(names: Sequence[str] = ()) -> None:
    """Import the plugins and the modules `names`, each once in a process.

    Raises:
        UserError: a module does not exist, or its import fails; the message says where.
    """
    for plugin in _list_plugins():
        _import(plugin.module, f"the plugin {plugin.name} of the package {plugin.dist.name if plugin.dist else '?'}")
    for problem in check_names(names):
        raise UserError(problem)
    if names:
        _find_here()
    for name in names:
        _import(name, "imports")


def packages() -> tuple[str, ...]:
    """The packages of all modules imported so far; a `_target_` may name what they define."""
    return tuple(dict.fromkeys(map(top_package, _imported)))


def top_package(name: str) -> str:
    """The first part of a dotted name: the package that contains everything below it."""
    return name.partition(".")[0]


def find_used(names: Sequence[str], config: Mapping[str, Any], network: str) -> list[str]:
    """The modules that can change the result: all of `names`, and the plugins whose package the run uses.

    Args:
        config: of the run, as plain containers.
        network: the module that defines the network.
    """
    found = {top_package(str(target)) for target in list_targets(config)} | {top_package(network)}
    return [*names, *(plugin.module for plugin in _list_plugins() if top_package(plugin.module) in found)]


def list_targets(node: Any) -> Iterator[Any]:
    """Yield every `_target_` of nested mappings and lists."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from list_targets(item)


@cache
def _list_plugins() -> tuple[metadata.EntryPoint, ...]:
    return tuple(sorted(metadata.entry_points(group=GROUP), key=lambda plugin: (plugin.module, plugin.name)))


def _find_here() -> None:
    """Let Python find modules in the folder in which the command was given; the console script alone does not.

    The folder comes last, so that a file in it takes the place of no installed package.
    """
    from hydra.core.hydra_config import HydraConfig

    here = HydraConfig.get().runtime.cwd if HydraConfig.initialized() else str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _import(name: str, source: str) -> None:
    if name in _imported:
        return
    importlib.invalidate_caches()
    try:
        _imported[name] = importlib.import_module(name)
    except Exception as error:
        raise UserError(f"{source}: {name}: {_describe(name, error)}") from error


def _describe(name: str, error: Exception) -> str:
    """Say why a module could not be imported, and where in it."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return (
            f"there is no module {error.name}. It is looked for where Python finds packages (installed ones, "
            f"PYTHONPATH) and in the folder in which the command is given, {Path.cwd()}"
        )
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"its import fails: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}{place}"
