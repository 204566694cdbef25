"""Split a network in two at the end of its frozen prefix, so that ``rest(prefix(x))`` equals ``model(x)``.

The prefix has no parameter that learns, so its output for an image never changes and can be cached. The split is either
at the head (timm's ``forward_head(pre_logits=True)``), or inside the network, found by symbolic tracing (torch.fx): the
traced network is a list of nodes in the order of execution, and it can be split after any node whose output is the only
tensor that later nodes still need. Inside a residual block there are two, the branch and the shortcut; between blocks
there is one.

Both halves share the model's own parameters and buffers: training the rest trains the model.
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
class Cut:
    """The two halves of a network.

    Attributes:
        prefix: images to features.
        rest: features to logits.
        at: where the network is split: ``head``, or the name of the prefix's last node.
        whole_backbone: whether the rest is the head alone.
    """

    prefix: nn.Module
    rest: nn.Module
    at: str
    whole_backbone: bool


class _Prefix(nn.Module):
    """The network up to its pre-logits features [n, d], what timm calls ``num_features`` or ``head_hidden_size``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: "Tensor") -> "Tensor":
        model: Any = self.model
        return model.forward_head(model.forward_features(x), pre_logits=True)


def find(model: Any, trainable: frozenset[str], example: "Tensor") -> Cut | None:
    """Split off the longest prefix of ``model`` in which no parameter learns.

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
        attempts: list[Callable[[], Cut | None]] = [lambda: _inside(model, trainable)]
        if names and not names & trainable:
            attempts.insert(0, lambda: _at_head(model))
        for attempt in attempts:
            try:
                cut = attempt()
                if cut is not None and _same(model, cut, example):
                    return cut
            # tracing runs the network's own code on stand-ins for tensors: it may raise anything
            except Exception as error:
                log.debug("cannot be cut: %r", error)
    finally:
        for module, training in modes.items():
            module.training = training
    return None


def _same(model: nn.Module, cut: Cut, example: "Tensor") -> bool:
    """Whether the halves give the network's logits on ``example``, to 1e-4 of the largest logit.

    Tracing records one run of the code. Branches that depend on the data or the mode may have gone another way.
    """
    with torch.no_grad():
        whole = model(example)
        halves = cut.rest.eval()(cut.prefix.eval()(example))
    scale = whole.abs().max().clamp(min=1e-6)
    return whole.shape == halves.shape and bool((whole - halves).abs().max() <= 1e-4 * scale)


def _at_head(model: Any) -> Cut:
    """Split before the classifier; the dropout that timm's ``forward_head`` applies before it goes to the rest."""
    head: Any = model.get_classifier()
    drop = float(getattr(model, "drop_rate", 0.0) or 0.0)
    rest = nn.Sequential(nn.Dropout(drop), head) if drop else nn.Sequential(head)
    return Cut(_Prefix(model), rest, "head", True)


class _Tracer(fx.Tracer):
    """Traces a network down to the layers of torch and timm; what timm marks as untraceable stays one node too."""

    def __init__(self, model: Any) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.leaves = tuple(get_notrace_modules())
        self.head = model.get_classifier() if hasattr(model, "get_classifier") else None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module becomes one node; other modules are traced into.

        timm's layers become one node, with two exceptions. What holds a batch norm (conv-norm-act) is traced into, so
        that the norm can be folded into the convolution. What holds the head is traced into, so that the head can be
        split off.
        """
        if isinstance(m, self.leaves) or type(m).__module__.startswith("torch.nn"):
            return not isinstance(m, nn.Sequential)
        inner = [part for part in m.modules() if part is not m]
        composite = any(part is self.head or isinstance(part, nn.BatchNorm2d) for part in inner)
        return type(m).__module__.startswith("timm.layers") and not composite


def trace(model: nn.Module) -> fx.GraphModule:
    """The network as a graph of layers, in which functional dropout is replaced by dropout modules.

    Tracing runs the code once. ``functional.dropout(x, training=self.training)`` is recorded with the value that
    ``self.training`` has in that run, and keeps it whatever mode is set later. A module asks for the mode at each call.
    """
    training = model.training
    model.train()  # in eval mode some networks leave their functional dropout out, and it would not be recorded
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


def _inside(model: nn.Module, trainable: frozenset[str]) -> Cut | None:
    """Split after the last node up to which nothing learns, nothing is random, and after which one tensor is alive.

    A tensor is alive after a node if a later node uses it. All tensors alive at the split would have to be handed from
    the prefix to the rest, and kept for each image. With one only, the prefix is a function from one tensor to one
    tensor. Parameters and buffers that are read directly (``get_attr``) do not count: each half reads them itself.
    """
    traced = trace(model)
    nodes = list(traced.graph.nodes)
    layers = dict(traced.named_modules())
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    # for each node the position of the last one that uses its output; -1 if none does
    last_use = {node: max((nodes.index(user) for user in node.users), default=-1) for node in nodes}
    best, seen_weights = None, False
    for index, node in enumerate(nodes[:-1]):
        owned = _parameters(node, traced, layers)
        if any(by_id.get(id(parameter)) in trainable for parameter in owned) or _is_random(node, layers):
            break
        # no split before the first weights: it would cache images, or reshaped images
        seen_weights |= bool(owned)
        alive = [other for other in nodes[: index + 1] if last_use[other] > index and other.op != "get_attr"]
        if seen_weights and alive == [node]:
            best = index
    if best is None:
        return None
    return Cut(_first(traced, nodes[best]), _second(traced, nodes[best]), str(nodes[best].name), False)


def _parameters(node: fx.Node, traced: fx.GraphModule, layers: dict[str, nn.Module]) -> list[nn.Parameter]:
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

    A prefix runs in eval mode, once per image. Such a layer would never drop anything there, though in training it
    should, so it belongs to the rest.
    """
    if node.op != "call_module":
        return False
    layer = layers[str(node.target)]
    rates = [getattr(layer, name, 0.0) for name in ("p", "drop_prob")]
    return "Drop" in type(layer).__name__ and any(rate for rate in rates if isinstance(rate, float))


def _first(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The nodes up to ``last``, whose output is the result."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copied[node] = graph.node_copy(node, copied.__getitem__)
        if node is last:
            break
    graph.output(copied[last])
    return _without_dead_code(fx.GraphModule(traced, graph))


def _second(traced: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The nodes after ``last``, whose output is the input.

    Reads of parameters and buffers are copied from before the split too: a later node may use what was read there.
    Those that none uses are removed again.
    """
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {last: graph.placeholder("features")}
    started = False
    for node in traced.graph.nodes:
        if started or node.op == "get_attr":
            copied[node] = graph.node_copy(node, copied.__getitem__)
        started = started or node is last
    return _without_dead_code(fx.GraphModule(traced, graph))


def _without_dead_code(half: fx.GraphModule) -> fx.GraphModule:
    """Remove nodes whose output nobody uses, and the layers that no node calls."""
    half.graph.eliminate_dead_code()
    half.delete_all_unused_submodules()
    half.recompile()
    return half


def folded(module: nn.Module) -> nn.Module:
    """A copy for inference, in which each batch norm is folded into the convolution before it.

    In eval mode a batch norm is affine per channel: with the running mean m and variance v,

        gamma (conv(x) - m) / sqrt(v + eps) + beta,    conv(x) = W x + b

    which is a convolution with ``W' = W gamma / sqrt(v + eps)`` and ``b' = (b - m) gamma / sqrt(v + eps) + beta``.
    Outputs are the same up to rounding. On a CPU this about doubles the images per second. Where tracing fails, the
    module itself is returned. W' and b' are new tensors: the module's own are not touched.
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
        # without running statistics a norm uses those of the batch, and is no fixed affine map
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            continue
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv = layers[str(before.target)]
        # Plain convolutions only: a subclass may do something to its weight or output. The convolution must feed the
        # norm alone, since any other user needs its output before the norm. None is folded twice.
        if type(conv) not in (nn.Conv2d, Conv2dSame) or len(before.users) != 1 or before.target in replacement:
            continue
        # a shallow copy: it shares everything but the weight and bias, which are set in a dictionary of its own
        fused = copy(conv)  # shares everything but its weight and bias, which are new
        fused._parameters = dict(conv._parameters)
        fused.weight, fused.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        replacement[str(before.target)] = fused
        # of timm's norm-and-activation layer the activation remains
        activation: Any = copy(norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        if hasattr(activation, "inplace"):
            activation.inplace = True  # safe: nothing else reads the output of the convolution
        replacement[str(node.target)] = activation
    for name, layer in replacement.items():
        traced.set_submodule(name, layer)
    return traced.eval()
