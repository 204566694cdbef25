"""Which dropout a network applies to its pre-logits features before its head, found by tracing its `forward_head`.

timm's networks do it in several ways: by a layer beside the head, by one inside a module that holds both, or by a
function. All of them are after the place at which `forward_head(pre_logits=True)` returns, or without effect before it
while features are computed, in eval mode. So whoever trains a head on these features has to apply them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from headstart.models.tracing import trace

if TYPE_CHECKING:
    from torch import Tensor, fx


class _Tail(nn.Module):
    """What a network does after `forward_features`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def get_classifier(self) -> Any:
        return self.model.get_classifier()

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(x)


def find_head_dropout(model: Any) -> list[float] | None:
    """Find the rates, above 0, of the dropouts before the head, in the order in which they are applied.

    Args:
        model: a timm network; its `forward_head` is traced, and its weights do not matter.

    Returns:
        None if the network's code cannot be traced, or has no one way from its features to its head.
    """
    tail = _Tail(model)
    head = tail.get_classifier()
    names = [name for name, layer in tail.named_modules() if layer is head]
    try:
        traced = trace(tail)
    except Exception:  # tracing runs the network's own code on stand-ins for tensors: it may raise anything
        return None
    layers = dict(traced.named_modules())
    node = next((node for node in traced.graph.nodes if _is_within(node, names)), None)
    if node is None:
        return None
    rates: list[float] = []
    while len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
        layer = layers[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, nn.Dropout):
            rates.insert(0, layer.p)
        elif layer is not None and next(layer.parameters(), None) is not None:
            break  # the backbone's last layer: a dropout before it is the backbone's own, and off if that is frozen
    return [rate for rate in rates if rate > 0]


def _is_within(node: fx.Node, names: list[str]) -> bool:
    """Whether a node calls one of these modules or a part of it."""
    target = str(node.target)
    return node.op == "call_module" and any(target == name or target.startswith(f"{name}.") for name in names)


def has_dropout(model: nn.Module) -> bool:
    """Whether any dropout layer of a network has a rate above 0."""
    return any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in model.modules())
