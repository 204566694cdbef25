"""Write an ONNX graph operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np


class Builder:
    """Collects the nodes of a graph; each operator returns the name of its output."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operator."""
        from onnx import helper

        name = output or f"{self.prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, kind: type) -> str:
        """Add a constant tensor."""
        from onnx import numpy_helper

        return self.add("Constant", value=numpy_helper.from_array(np.array(values, dtype=kind)))

    def cast(self, name: str, kind: type) -> str:
        """Add a change of type."""
        from onnx import helper

        return self.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def halve(self, name: str) -> str:
        """Add half of an int64, halves rounded to even, as Python's `round` does."""
        half = self.add("Mul", self.cast(name, np.float64), self.constant([0.5], np.float64))
        return self.cast(self.add("Round", half), np.int64)

    def finish(self, inputs: list[Any], outputs: list[Any], opsets: Any, ir_version: int) -> Any:
        """Make the model."""
        from onnx import helper

        graph = helper.make_graph(self.nodes, self.prefix, inputs, outputs)
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
