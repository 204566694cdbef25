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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx, nn

from headstart.models.modes import is_random, learning, train_mode
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
    """

    prefix: nn.Module
    rest: nn.Module
    at: str


class PreLogits(nn.Module):
    """The network up to its pre-logits features [n, d], what timm calls `num_features` or `head_hidden_size`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)


class _Tail(nn.Module):
    """The network after `forward_features`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def get_classifier(self) -> nn.Module:
        return cast(nn.Module, self.model.get_classifier())

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(x)


def split_network(
    model: Any, trainable: frozenset[str], example: Tensor, *, training: bool = True
) -> NetworkSplit | None:
    """Split off the longest prefix of `model` in which no parameter learns and nothing is random.

    Args:
        model: a timm network; it is left as it was, the mode (train or eval) of each layer included.
        trainable: names of the parameters that learn.
        example: float images [n, 3, h, w], on which the halves are compared with the whole network.
        training: the rest will be trained by gradient, with the dropout that the whole network has in training. Without
            it the network is in eval mode, and has no dropout.

    Returns:
        None if the prefix would have no parameters, or if the network cannot be traced or split.
    """
    head = model.get_classifier()
    inside = {id(parameter) for parameter in head.parameters()}
    names = {name for name, parameter in model.named_parameters() if id(parameter) not in inside}
    # At the head first, if no parameter before it learns: this prefix is the longest, and needs no tracing, which
    # fails for some networks. A network that is all head (a linear model on pixels) has no prefix.
    attempts: list[Callable[[], NetworkSplit | None]] = [lambda: _split_inside(model, training)]
    if names and not names & trainable:
        attempts.insert(0, lambda: _split_at_head(model, training))
    with learning(model, trainable), _random_head(head, example.device):
        for attempt in attempts:
            try:
                cut = attempt()
                if cut is not None and _are_equal(model, cut, example, training):
                    return cut
            # tracing runs the network's own code on stand-ins for tensors: it may raise anything
            except Exception as error:
                log.debug("cannot be split: %r", error)
    return None


def _are_equal(model: Any, cut: NetworkSplit, example: Tensor, training: bool) -> bool:
    """Whether the two halves give the network's logits on `example`, to 1e-4 of the largest logit.

    They are compared in eval mode and, with the same random numbers, in the modes of training. Tracing records one run
    of the code: with other data or in another mode, the code may take another branch. Batch norms use their running
    statistics in both, because those of a few images magnify rounding.
    """
    for mode in (False, True) if training else (False,):
        outputs = []
        for first, second in ((nn.Identity(), model), (cut.prefix, cut.rest)):
            features = first.eval()(example)
            _set_modes(second, mode)
            torch.manual_seed(0)
            outputs.append(second(features))
        whole, halves = outputs
        scale = whole.abs().max().clamp(min=1e-6)
        if whole.shape != halves.shape or not bool((whole - halves).abs().max() <= 1e-4 * scale):
            return False
    return True


def _set_modes(module: nn.Module, training: bool) -> None:
    if training:
        train_mode(module, statistics="frozen")
    else:
        module.eval()


@contextmanager
def _random_head(head: nn.Module, device: torch.device) -> Iterator[None]:
    """For a while, give the head random weights: with zeros, as it has in some networks, any two halves are equal.

    Gradients are off meanwhile, and random numbers go on afterwards as if none had been drawn.
    """
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        values = {parameter: parameter.clone() for parameter in head.parameters()}
        try:
            for parameter in values:
                parameter.normal_()
            yield
        finally:
            for parameter, value in values.items():
                parameter.copy_(value)


def _split_at_head(model: Any, training: bool) -> NetworkSplit:
    """Split before the classifier; the dropout that timm's `forward_head` applies before it goes to the rest."""
    random: list[nn.Module] = []
    if training:
        try:
            traced, layers = _trace(_Tail(model), training)
            random = [layers[str(node.target)] for node in traced.graph.nodes if _is_random(node, layers)]
        except Exception as error:  # any dropout will then be missing in the rest, so that the halves differ
            log.debug("cannot be traced after its features: %r", error)
    return NetworkSplit(PreLogits(model), nn.Sequential(*random, model.get_classifier()), "head")


def _trace(model: nn.Module, training: bool) -> tuple[fx.GraphModule, dict[str, nn.Module]]:
    """Trace the network; returns the graph, and its layers by name, each in its mode."""
    traced = trace(model)
    _set_modes(traced, training)
    return traced, dict(traced.named_modules())


def _split_inside(model: nn.Module, training: bool) -> NetworkSplit | None:
    """Split after the last node up to which nothing learns, nothing is random, and after which one tensor is alive.

    A tensor is alive after a node if a later node uses it. All tensors alive at the split would have to be handed from
    the prefix to the rest, and kept for each image. With one only, the prefix is a function from one tensor to one
    tensor. Parameters and buffers that are read directly (`get_attr`) do not count: each half reads them itself.
    """
    traced, layers = _trace(model, training)
    nodes = list(traced.graph.nodes)
    # for each node the position of the last one that uses its output; -1 if none does
    last_use = {node: max((nodes.index(user) for user in node.users), default=-1) for node in nodes}
    best, seen_weights = None, False
    for index, node in enumerate(nodes[:-1]):
        owned = _list_parameters(node, traced, layers)
        # a prefix runs once for each image, in eval mode: what draws anew in each step belongs to the rest
        if any(parameter.requires_grad for parameter in owned) or _is_random(node, layers):
            break
        # no split before the first weights: it would cache images, or reshaped images
        seen_weights |= bool(owned)
        alive = [other for other in nodes[: index + 1] if last_use[other] > index and other.op != "get_attr"]
        if seen_weights and alive == [node]:
            best = index
    if best is None:
        return None
    return NetworkSplit(_take_first(traced, nodes[best]), _take_second(traced, nodes[best]), str(nodes[best].name))


def _is_random(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    return node.op == "call_module" and any(is_random(layer) for layer in layers[str(node.target)].modules())


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
