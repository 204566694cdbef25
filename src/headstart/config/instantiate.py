"""Build the object that a `_target_` names, if it is of the kind that its place in the config asks for.

The place decides, not the package: torch also defines functions that run a shell command or load pickled code. An
optimizer is an optimizer class of torch or timm, a figure a figure of the report, and so on (`ROLES`). In each place
there may also stand what a package of one's own defines: one that the key `imports` names, or a plugin's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.config import own_code
from headstart.errors import UserError


@dataclass(frozen=True)
class Role:
    """What may stand in one place of the config.

    Attributes:
        words: what it is, for the refusal.
        modules: that may define it.
        base: the class that it derives from, with its module; None: a function that returns a `Source`.
        own: whether code of one's own has to derive from `base` too, or may be anything that can be called.
    """

    words: str
    modules: tuple[str, ...]
    base: str | None
    own: bool = False


ROLES = {
    "optimizer": Role(
        "an optimizer class of torch.optim or timm.optim",
        ("torch.optim", "timm.optim"),
        "torch.optim.optimizer.Optimizer",
    ),
    "source": Role("a data source of headstart.data.sources", ("headstart.data.sources",), None),
    "probe": Role("a probe of headstart.probe", ("headstart.probe",), "headstart.probe.base.Probe"),
    "penalty": Role("a penalty of headstart.penalty", ("headstart.penalty",), "builtins.object"),
    "measure": Role(
        "a measure of headstart.measures", ("headstart.measures",), "headstart.measures.measure.Measure", True
    ),
    "figure": Role(
        "a figure of headstart.report.questions",
        ("headstart.report.questions",),
        "headstart.report.questions.figure.Figure",
        True,
    ),
}


def find_role(key: str) -> str | None:
    """The role of what stands at a key, such as probe for `strategy.phases.head.probe`; None if nothing is built."""
    names = key.split(".")
    return next((name for name in (names[-1], names[0].removesuffix("s")) if name in ROLES), None)


def find_target(target: Any, role: str) -> Any:
    """Find what a `_target_` names, if it is fit for its role; nothing else is imported.

    Raises:
        UserError: it is not allowed there, or does not exist.
    """
    from hydra.utils import get_object

    allowed, own = ROLES[role], own_code.packages()
    if not isinstance(target, str) or not _is_in(target, (*allowed.modules, *own)):
        raise UserError(f"{target}: {_refuse(target, allowed)}")
    try:
        thing = get_object(target)
    except Exception as error:
        raise UserError(f"{target}: {str(error).splitlines()[0] if str(error) else 'not found'}") from error
    home = str(getattr(thing, "__module__", None))
    is_own = _is_in(home, own)
    if not is_own and not _is_in(home, allowed.modules):
        raise UserError(f"{target} is defined in {home}: {_refuse(home, allowed)}")
    fits = callable(thing) if is_own and not allowed.own else _fits(thing, allowed)
    if not fits:
        raise UserError(f"{target}: is not {allowed.words if not is_own else f'a class derived from {allowed.base}'}")
    return thing


def build(role: str, node: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call what `node['_target_']` names with the node's other keys, if it is fit for its role.

    A `_target_` inside the arguments may name code of one's own only. The values are used as they are: `${…}` in them
    is text, because a config that somebody sent must not read the environment.

    Raises:
        UserError: a target is not allowed.
    """
    from hydra.utils import execution_whitelist, instantiate

    target = node.get("_target_") if isinstance(node, Mapping) else None
    find_target(target, role)
    inner = list(own_code.list_targets([value for key, value in node.items() if key != "_target_"]))
    for each in inner:
        _check_inner(each)
    with execution_whitelist([str(target), *map(str, inner)], reset=True):
        return instantiate(escape_references(dict(node)), *args, _convert_="all", **escape_references(kwargs))


def escape_references(value: Any) -> Any:
    r"""Write `\${` for `${` in each text of a value, so that OmegaConf reads the text and no reference in it."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, dict):
        return {key: escape_references(inner) for key, inner in value.items()}
    return [escape_references(inner) for inner in value] if isinstance(value, list) else value


def _check_inner(target: Any) -> None:
    own = own_code.packages()
    if not isinstance(target, str) or not _is_in(target, own):
        raise UserError(
            f"{target}: arguments build only what a package of your own defines; name it under imports, such as "
            f"imports=[{own_code.top_package(str(target))}]"
        )
    from hydra.utils import get_object

    home = str(getattr(get_object(target), "__module__", None))
    if not _is_in(home, own):
        raise UserError(f"{target} is defined in {home}, which is no package under imports")


def _refuse(name: Any, allowed: Role) -> str:
    """Say what may stand in a place instead of `name`, and how code of one's own gets there."""
    module = str(name).rpartition(".")[0] or str(name)
    if any(True for _ in own_code.check_names([module])):
        return f"only {allowed.words} is built here"
    return f"only {allowed.words} is built here, or code of your own that imports names: imports=[{module}]"


def _is_in(name: str, modules: tuple[str, ...]) -> bool:
    return f"{name}.".startswith(tuple(f"{module}." for module in modules))


def _fits(thing: Any, allowed: Role) -> bool:
    if allowed.base is None:
        returns = getattr(thing, "__annotations__", {}).get("return")
        return callable(thing) and not isinstance(thing, type) and getattr(returns, "__name__", returns) == "Source"
    return isinstance(thing, type) and allowed.base in {
        f"{kind.__module__}.{kind.__qualname__}" for kind in thing.__mro__
    }
