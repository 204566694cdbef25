"""An ONNX graph that prepares an image as a run did: uint8 [H, W, 3] of any size → normalised float32 [1, 3, s, s]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.models.input import Input

# timm's word for a filter: ONNX's mode. Others (lanczos, box, nearest) have no counterpart that shrinks as Pillow does.
MODES = {"bicubic": "cubic", "bilinear": "linear"}
PIXELS, IMAGES = "image", "images"  # the names of the input and of the output


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


def build(expected: Input, size: int, opsets: Any, ir_version: int) -> Any:
    """Build the graph.

    It resizes the image with antialiasing, rounds to whole values, crops or pads as `headstart.data.square` says, and
    normalises.

    Args:
        size: side of the square before the centre crop.

    Raises:
        UserError: ONNX has no such filter.
    """
    from onnx import TensorProto, helper

    if expected.interpolation not in MODES:
        raise UserError(
            f"--onnx: images are resized by {expected.interpolation}, which ONNX does not have (it has "
            f"{', '.join(MODES)}): export without --onnx"
        )
    build, crop = Builder("pixels"), expected.image_size
    shape = build.add("Shape", PIXELS)
    sides = build.add("Slice", shape, build.constant([0], np.int64), build.constant([2], np.int64))
    new = _fit(build, sides, expected.resize, size)
    resized = _resize(build, sides, new, MODES[expected.interpolation])
    if expected.resize == "pad":
        resized = _pad(build, resized, new, size, crop, expected.mean)
        new = build.constant([size, size], np.int64)
    start = build.halve(build.add("Sub", new, build.constant([crop], np.int64)))
    stop = build.add("Add", start, build.constant([crop], np.int64))
    square = build.add("Slice", resized, start, stop, build.constant([2, 3], np.int64))
    mean, std = (build.constant(np.reshape(values, (1, 3, 1, 1)), np.float32) for values in (expected.mean, expected.std))
    scaled = build.add("Div", square, build.constant(255, np.float32))
    build.add("Div", build.add("Sub", scaled, mean), std, output=IMAGES)
    given = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["height", "width", 3])
    made = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, [1, 3, crop, crop])
    return build.finish([given], [made], opsets, ir_version)


def _fit(build: Builder, sides: str, resize: str, size: int) -> str:
    """Height and width [2] to which the image is resized: `Square.fit`."""
    if resize == "squash":
        return build.constant([size, size], np.int64)
    if resize == "crop":  # size * side / shorter side, rounded down: exactly `size` for the shorter one
        short = build.add("ReduceMin", sides, keepdims=1)
        return build.add("Div", build.add("Mul", sides, build.constant([size], np.int64)), short)
    ratios = build.add("Div", build.cast(sides, np.float64), build.constant([size], np.float64))
    scaled = build.add("Div", build.cast(sides, np.float64), build.add("ReduceMax", ratios, keepdims=1))
    return build.add("Max", build.cast(build.add("Round", scaled), np.int64), build.constant([1], np.int64))


def _resize(build: Builder, sides: str, new: str, mode: str) -> str:
    """The image as whole values [1, 3, h, w] in float32, resized as torch's and Pillow's antialiased filters do it.

    They resize each row, round (halves up), then resize each column of what came out, and round.
    """
    channels = build.add("Transpose", build.cast(PIXELS, np.float32), perm=[2, 0, 1])
    batch = build.add("Unsqueeze", channels, build.constant([0], np.int64))
    cubic = {"cubic_coeff_a": -0.5} if mode == "cubic" else {}
    half, limits = build.constant(0.5, np.float32), [build.constant(value, np.float32) for value in (0, 255)]
    first, second, end = (build.constant([at], np.int64) for at in (0, 1, 2))
    height, width = build.add("Slice", sides, first, second), build.add("Slice", new, second, end)
    for shape in (build.add("Concat", height, width, axis=0), new):
        sizes = build.add("Concat", build.constant([1, 3], np.int64), shape, axis=0)
        batch = build.add("Resize", batch, "", "", sizes, mode=mode, antialias=1, exclude_outside=1, **cubic)
        batch = build.add("Clip", build.add("Floor", build.add("Add", batch, half)), *limits)
    return batch


def _pad(build: Builder, image: str, new: str, size: int, crop: int, mean: tuple[float, ...]) -> str:
    """The image in the middle of a square filled with the mean: `Square.place`."""
    fill = build.constant(np.reshape([round(255 * value) for value in mean], (1, 3, 1, 1)), np.float32)
    whole = build.constant([crop], np.int64)
    larger = build.halve(build.add("Sub", new, whole))
    smaller = build.add("Neg", build.add("Div", build.add("Sub", whole, new), build.constant([2], np.int64)))
    start = build.add("Where", build.add("GreaterOrEqual", new, whole), larger, smaller)
    before = build.add("Sub", build.constant([round((size - crop) / 2)], np.int64), start)
    after = build.add("Sub", build.add("Sub", build.constant([size], np.int64), new), before)
    none = build.constant([0, 0], np.int64)
    pads = build.add("Concat", none, before, none, after, axis=0)
    padded = build.add("Pad", build.add("Sub", image, fill), pads)
    return build.add("Add", padded, fill)
