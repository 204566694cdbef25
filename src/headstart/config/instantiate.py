"""Build the object that a `_target_` names, from a list of allowed packages and no others."""

from collections.abc import Iterator, Mapping
from typing import Any

from headstart.errors import UserError

# `_target_` may name these packages and no others.
ALLOWED_TARGETS = ("headstart.*", "timm.*", "torch.*", "torchmetrics.*", "pytorch_lightning.*")


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _targets(item)


def find_target(target: Any) -> Any:
    """Find what a `_target_` names, if an allowed package defines it: `torch.os.system` is not torch's own.

    Raises:
        UserError: it is not allowed, or does not exist.
    """
    from hydra.utils import get_object

    names = ", ".join(prefix.removesuffix(".*") for prefix in ALLOWED_TARGETS)
    refusal = f"{target}: only things of {names} are built"
    allowed = tuple(prefix.removesuffix("*") for prefix in ALLOWED_TARGETS)
    if not isinstance(target, str) or not target.startswith(allowed):
        raise UserError(refusal)
    try:
        thing = get_object(target)
    except Exception as error:
        raise UserError(f"{target}: {str(error).splitlines()[0] if str(error) else 'not found'}") from error
    if not f"{getattr(thing, '__module__', None)}.".startswith(allowed):
        raise UserError(refusal)
    return thing


def build(node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call what `node['_target_']` names with the node's other keys, if it and all targets inside are allowed.

    Raises:
        UserError: a target is not allowed.
    """
    from hydra.utils import instantiate

    for target in _targets(node):
        find_target(target)
    return instantiate(node, *args, _convert_="all", _execution_whitelist_=list(ALLOWED_TARGETS), **kwargs)
