"""The head of a network: the one module that timm's `get_classifier()` returns, which a run replaces and trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def find_head(model: Any) -> nn.Module:
    """The head; UserError in words if the network has none with weights, or several."""
    from torch import nn

    name = type(model).__name__
    if not hasattr(model, "get_classifier"):
        raise UserError(f"model.name: {name} has no get_classifier(), which names the head: {_ADVICE}")
    try:
        head = model.get_classifier()
    except (AttributeError, NotImplementedError) as error:
        raise UserError(f"model.name: {name} has no head that get_classifier() finds ({error}): {_ADVICE}") from error
    if not isinstance(head, nn.Module) or isinstance(head, nn.ModuleList | nn.ModuleDict):
        parts = len(head) if isinstance(head, tuple | list | nn.ModuleList | nn.ModuleDict) else 0
        has = f"{parts} heads, whose outputs it combines" if parts else f"no single head ({type(head).__name__})"
        raise UserError(f"model.name: {name} has {has}; a run trains one head: {_ADVICE}")
    if next(head.parameters(), None) is None:
        raise UserError(f"model.name: {name} has no head of its own (get_classifier() has no weights): {_ADVICE}")
    return head


def name_head(model: Any) -> frozenset[str]:
    """The names of the head's parameters; none for a network without a head."""
    try:
        inside = {id(parameter) for parameter in find_head(model).parameters()}
    except UserError:
        return frozenset()
    return frozenset(name for name, parameter in model.named_parameters() if id(parameter) in inside)


def name_head_tensors(model: Any) -> frozenset[str]:
    """The names of the head's tensors in a state dict, buffers too; none for a network without a head."""
    stems = {name.rpartition(".")[0] for name in name_head(model)}
    return frozenset(name for name in model.state_dict() if any(name.startswith(f"{stem}.") for stem in stems))


_ADVICE = "choose a network that ends in one classifier"
