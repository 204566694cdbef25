"""Turn a network into a graph of layers, by torch's symbolic tracing."""

from typing import Any

from torch import fx, nn
from torch.nn import functional


class _Tracer(fx.Tracer):
    """Traces a network down to the layers of torch and timm; modules that timm marks as untraceable become one node."""

    def __init__(self, model: Any) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.leaves = tuple(get_notrace_modules())
        self.head = model.get_classifier() if hasattr(model, "get_classifier") else None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module becomes one node; other modules are traced into.

        timm's layers become one node, with two exceptions. A layer that contains a batch norm (conv-norm-act) is traced
        into, so that the norm can be folded into the convolution. A layer that contains the head is traced into, so
        that the head can be split off.
        """
        if isinstance(m, self.leaves) or type(m).__module__.startswith("torch.nn"):
            return not isinstance(m, nn.Sequential)
        inner = [part for part in m.modules() if part is not m]
        composite = any(part is self.head or isinstance(part, nn.BatchNorm2d) for part in inner)
        return type(m).__module__.startswith("timm.layers") and not composite


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace the network into a graph of layers, in which functional dropout is a layer of the module that calls it.

    Tracing runs the code once. `functional.dropout(x, training=self.training)` is recorded with the value that
    `self.training` has in that run, and does not follow a later change of the mode. A dropout layer does.
    """
    modes = {module: module.training for module in model.modules()}
    model.train()  # in eval mode some networks do not call their functional dropout, and it would not be recorded
    try:
        graph = _Tracer(model).trace(model)
    finally:
        for module, training in modes.items():
            module.training = training
    traced = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is functional.dropout:
            rate = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
            callers = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            name = ".".join([*callers[-1:], f"functional_{node.name}"])
            traced.add_submodule(name, nn.Dropout(rate))
            with graph.inserting_after(node):
                new = graph.call_module(name, (node.args[0],))
            node.replace_all_uses_with(new)
            graph.erase_node(node)
    traced.recompile()
    return traced
