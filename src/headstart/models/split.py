"""Cut a network in two at the end of its frozen prefix: ``rest(prefix(x))`` is ``model(x)``.

The cut is either at the head (timm's ``forward_head(pre_logits=True)``) or anywhere in the network where one single
tensor is alive, found by symbolic tracing. Both halves share the model's own parameters and buffers, so training
the rest trains the model.
"""

import logging
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkSplit:
    """The two halves, and where they meet."""

    prefix: nn.Module
    rest: nn.Module
    at: str


class _Prefix(nn.Module):
    """The network up to its pre-logits features [n, d], what timm calls ``num_features`` or ``head_hidden_size``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: "Tensor") -> "Tensor":
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)


def split_network(model: Any, trainable: frozenset[str], example: "Tensor") -> NetworkSplit | None:
    """The longest prefix of ``model`` in which no parameter is trainable; None if it has no parameter or fails.

    Args:
        model: a timm network; it is left in the mode it was in.
        trainable: names of the parameters that learn.
        example: float images [n, 3, h, w] on which the halves are checked against the whole.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        head = {id(parameter) for parameter in model.get_classifier().parameters()}
        names = {name for name, parameter in model.named_parameters() if id(parameter) not in head}
        attempts: list[Callable[[], NetworkSplit | None]] = [lambda: _inside(model, trainable)]
        if names and not names & trainable:  # a network that is all head has no prefix
            attempts.insert(0, lambda: _at_head(model))
        for attempt in attempts:
            try:
                cut = attempt()
                if cut is not None and _same(model, cut, example):
                    return cut
            except Exception as error:  # tracing runs the network's own code with proxies: anything may be raised
                log.debug("cannot be cut: %r", error)
    finally:
        for module, training in modes.items():
            module.training = training
    return None


def _same(model: nn.Module, cut: NetworkSplit, example: "Tensor") -> bool:
    """Whether the halves give the whole's logits on ``example``, to 1e-4 of their range."""
    with torch.no_grad():
        whole = model(example)
        halves = cut.rest.eval()(cut.prefix.eval()(example))
    scale = whole.abs().max().clamp(min=1e-6)
    return whole.shape == halves.shape and bool((whole - halves).abs().max() <= 1e-4 * scale)


def _at_head(model: Any) -> NetworkSplit:
    head: Any = model.get_classifier()
    drop = float(getattr(model, "drop_rate", 0.0) or 0.0)
    rest = nn.Sequential(nn.Dropout(drop), head) if drop else nn.Sequential(head)
    return NetworkSplit(_Prefix(model), rest, "head")


class _Tracer(fx.Tracer):
    """Keeps torch's and timm's layers, and what timm marks as untraceable, as single nodes."""

    def __init__(self, model: Any) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.leaves = tuple(get_notrace_modules())
        self.head = model.get_classifier() if hasattr(model, "get_classifier") else None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, self.leaves) or type(m).__module__.startswith("torch.nn"):
            return not isinstance(m, nn.Sequential)
        inner = [part for part in m.modules() if part is not m]
        # looked into: conv-norm-act, so that it can be folded, and what holds the head, so that it can be cut off
        composite = any(part is self.head or isinstance(part, nn.BatchNorm2d) for part in inner)
        return type(m).__module__.startswith("timm.layers") and not composite


def trace(model: nn.Module) -> fx.GraphModule:
    """The network as a graph of layers; functional dropout becomes a module, so that train() and eval() reach it."""
    training = model.training
    model.train()  # in eval mode, networks skip their functional dropout
    try:
        graph = _Tracer(model).trace(model)
    finally:
        model.train(training)
    traced = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is functional.dropout:
            rate = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
            traced.add_submodule(node.name, nn.Dropout(rate))
            with graph.inserting_after(node):
                new = graph.call_module(node.name, (node.args[0],))
            node.replace_all_uses_with(new)
            graph.erase_node(node)
    traced.recompile()
    return traced


def _inside(model: nn.Module, trainable: frozenset[str]) -> NetworkSplit | None:
    """Cut after the last node before which nothing learns or is random, and one tensor is alive."""
    traced = trace(model)
    nodes = list(traced.graph.nodes)
    layers = dict(traced.named_modules())
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    last_use = {node: max((nodes.index(user) for user in node.users), default=-1) for node in nodes}
    best, seen_weights = None, False
    for index, node in enumerate(nodes[:-1]):
        owned = _parameters(node, traced, layers)
        if any(by_id.get(id(parameter)) in trainable for parameter in owned) or _is_random(node, layers):
            break
        seen_weights |= bool(owned)
        alive = [other for other in nodes[: index + 1] if last_use[other] > index and other.op != "get_attr"]
        if seen_weights and alive == [node]:
            best = index
    if best is None:
        return None
    return NetworkSplit(_first(traced, nodes[best]), _second(traced, nodes[best]), str(nodes[best].name))


def _parameters(node: fx.Node, traced: fx.GraphModule, layers: dict[str, nn.Module]) -> list[nn.Parameter]:
    if node.op == "call_module":
        return list(layers[str(node.target)].parameters())
    if node.op == "get_attr":
        value: Any = traced
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return [value] if isinstance(value, nn.Parameter) else []
    return []


def _is_random(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether the layer may drop something while it trains; in a frozen prefix it does not, so it may stay inside
    only when its rate is 0."""
    if node.op != "call_module":
        return False
    layer = layers[str(node.target)]
    rates = [getattr(layer, name, 0.0) for name in ("p", "drop_prob")]
    return "Drop" in type(layer).__name__ and any(rate for rate in rates if isinstance(rate, float))


def _first(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copied[node] = graph.node_copy(node, copied.__getitem__)
        if node is last:
            break
    graph.output(copied[last])
    return _without_dead_code(fx.GraphModule(traced, graph))


def _second(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {last: graph.placeholder("features")}
    started = False
    for node in traced.graph.nodes:
        if started or node.op == "get_attr":
            copied[node] = graph.node_copy(node, copied.__getitem__)
        started = started or node is last
    return _without_dead_code(fx.GraphModule(traced, graph))


def _without_dead_code(half: fx.GraphModule) -> fx.GraphModule:
    half.graph.eliminate_dead_code()
    half.delete_all_unused_submodules()
    half.recompile()
    return half


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """A copy for inference with each batch norm folded into the convolution before it; same outputs to rounding.

    On a CPU this about doubles the images per second. Where tracing fails, the module itself is returned. The folded
    copies are new tensors: the module's own are not touched.
    """
    from timm.layers import BatchNormAct2d, Conv2dSame
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    try:
        traced = trace(module)
    except Exception as error:
        log.debug("cannot be folded: %s", error)
        return module
    layers = dict(traced.named_modules())
    replacement: dict[str, nn.Module] = {}
    for node in traced.graph.nodes:
        before = node.args[0] if node.args else None
        norm = layers.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            continue
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv = layers[str(before.target)]
        if type(conv) not in (nn.Conv2d, Conv2dSame) or len(before.users) != 1 or before.target in replacement:
            continue
        fused = copy(conv)  # shares everything but its weight and bias, which are new
        fused._parameters = dict(conv._parameters)
        fused.weight, fused.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        replacement[str(before.target)] = fused
        activation: Any = copy(norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        if hasattr(activation, "inplace"):
            activation.inplace = True  # nothing else reads the convolution's output
        replacement[str(node.target)] = activation
    for name, layer in replacement.items():
        traced.set_submodule(name, layer)
    return traced.eval()
