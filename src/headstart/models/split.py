"""Split a network in two at the end of its frozen prefix, so that `rest(prefix(x))` equals `model(x)`.

The prefix has no parameter that learns, so its output for an image never changes and can be cached. The split is either
at the head (timm's `forward_head(pre_logits=True)`), or inside the network, found by symbolic tracing (torch.fx): the
traced network is a list of nodes in the order of execution, and it can be split after any node whose output is the only
tensor that later nodes still need. Inside a residual block there are two, the branch and the shortcut; between blocks
there is one.

Both halves share the model's own parameters and buffers: training the rest trains the model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from headstart.models.head_dropout import find_head_dropout, has_dropout
from headstart.models.tracing import trace

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkSplit:
    """The two halves of a network.

    Attributes:
        prefix: turns images into features.
        rest: turns features into logits.
        at: where the network is split: `head`, or the name of the prefix's last node.
        lacks_dropout: the network has dropout of which it is not known whether it belongs to the rest: train no head on
            these features by gradient.
    """

    prefix: nn.Module
    rest: nn.Module
    at: str
    lacks_dropout: bool = False


class PreLogits(nn.Module):
    """The network up to its pre-logits features [n, d], what timm calls `num_features` or `head_hidden_size`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)


def split_network(model: Any, trainable: frozenset[str], example: Tensor) -> NetworkSplit | None:
    """Split off the longest prefix of `model` in which no parameter learns.

    Args:
        model: a timm network; each of its layers is left in the mode (train or eval) that it was in.
        trainable: names of the parameters that learn.
        example: float images [n, 3, h, w], on which the halves are compared with the whole network.

    Returns:
        None if the prefix would have no parameters, or if the network cannot be traced or split.
    """
    # eval mode for the comparison: dropout and batch statistics would make the outputs differ
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        head = {id(parameter) for parameter in model.get_classifier().parameters()}
        names = {name for name, parameter in model.named_parameters() if id(parameter) not in head}
        # At the head first, if no parameter before it learns: this prefix is the longest, and needs no tracing, which
        # fails for some networks. A network that is all head (a linear model on pixels) has no prefix.
        attempts: list[Callable[[], NetworkSplit | None]] = [lambda: _split_inside(model, trainable)]
        if names and not names & trainable:
            attempts.insert(0, lambda: _split_at_head(model))
        for attempt in attempts:
            try:
                cut = attempt()
                if cut is not None and _are_equal(model, cut, example):
                    return cut
            # tracing runs the network's own code on stand-ins for tensors: it may raise anything
            except Exception as error:
                log.debug("cannot be split: %r", error)
    finally:
        for module, training in modes.items():
            module.training = training
    return None


def _are_equal(model: nn.Module, cut: NetworkSplit, example: Tensor) -> bool:
    """Whether the two halves give the network's logits on `example`, to 1e-4 of the largest logit.

    Tracing records one run of the code. With other data or in another mode, the code may take another branch.
    """
    with torch.no_grad():
        whole = model(example)
        halves = cut.rest.eval()(cut.prefix.eval()(example))
    scale = whole.abs().max().clamp(min=1e-6)
    return whole.shape == halves.shape and bool((whole - halves).abs().max() <= 1e-4 * scale)


def _split_at_head(model: Any) -> NetworkSplit:
    """Split before the classifier; the dropout that timm's `forward_head` applies before it goes to the rest."""
    head: Any = model.get_classifier()
    rates = find_head_dropout(model)
    rest = nn.Sequential(*(nn.Dropout(rate) for rate in rates or ()), head)
    return NetworkSplit(PreLogits(model), rest, "head", lacks_dropout=rates is None and has_dropout(model))


def _split_inside(model: nn.Module, trainable: frozenset[str]) -> NetworkSplit | None:
    """Split after the last node up to which nothing learns, nothing is random, and after which one tensor is alive.

    A tensor is alive after a node if a later node uses it. All tensors alive at the split would have to be handed from
    the prefix to the rest, and kept for each image. With one only, the prefix is a function from one tensor to one
    tensor. Parameters and buffers that are read directly (`get_attr`) do not count: each half reads them itself.
    """
    traced = trace(model)
    nodes = list(traced.graph.nodes)
    layers = dict(traced.named_modules())
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    # for each node the position of the last one that uses its output; -1 if none does
    last_use = {node: max((nodes.index(user) for user in node.users), default=-1) for node in nodes}
    best, seen_weights = None, False
    for index, node in enumerate(nodes[:-1]):
        owned = _list_parameters(node, traced, layers)
        if any(by_id.get(id(parameter)) in trainable for parameter in owned) or _is_random(node, layers):
            break
        # no split before the first weights: it would cache images, or reshaped images
        seen_weights |= bool(owned)
        alive = [other for other in nodes[: index + 1] if last_use[other] > index and other.op != "get_attr"]
        if seen_weights and alive == [node]:
            best = index
    if best is None:
        return None
    return NetworkSplit(_take_first(traced, nodes[best]), _take_second(traced, nodes[best]), str(nodes[best].name))


def _list_parameters(node: fx.Node, traced: fx.GraphModule, layers: dict[str, nn.Module]) -> list[nn.Parameter]:
    """The parameters that a node uses itself: those of its layer, or the one that it reads."""
    if node.op == "call_module":
        return list(layers[str(node.target)].parameters())
    if node.op == "get_attr":
        value: Any = traced
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return [value] if isinstance(value, nn.Parameter) else []
    return []


def _is_random(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether the node is a dropout or drop-path layer with a rate above 0.

    A prefix runs in eval mode, once per image. There such a layer would drop nothing, but in training it should, so it
    belongs to the rest.
    """
    if node.op != "call_module":
        return False
    layer = layers[str(node.target)]
    rates = [getattr(layer, name, 0.0) for name in ("p", "drop_prob")]
    return "Drop" in type(layer).__name__ and any(rate for rate in rates if isinstance(rate, float))


def _take_first(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The nodes up to `last`, whose output is the result."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copied[node] = graph.node_copy(node, copied.__getitem__)
        if node is last:
            break
    graph.output(copied[last])
    return _remove_dead_code(fx.GraphModule(traced, graph))


def _take_second(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The nodes after `last`, whose output is the input.

    Nodes before the split that read parameters and buffers are copied too, because a later node may use their output.
    Those without a user are removed again.
    """
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {last: graph.placeholder("features")}
    started = False
    for node in traced.graph.nodes:
        if started or node.op == "get_attr":
            copied[node] = graph.node_copy(node, copied.__getitem__)
        started = started or node is last
    return _remove_dead_code(fx.GraphModule(traced, graph))


def _remove_dead_code(half: fx.GraphModule) -> fx.GraphModule:
    """Remove nodes whose output is not used, and layers that no node calls."""
    half.graph.eliminate_dead_code()
    half.delete_all_unused_submodules()
    half.recompile()
    return half
