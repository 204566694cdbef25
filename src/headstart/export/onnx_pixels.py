"""An ONNX graph that prepares an image as a run did: uint8 [H, W, 3] of any size → normalised float32 [1, 3, s, s]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.decode import LONGEST
from headstart.errors import UserError
from headstart.export import onnx_weights
from headstart.export.onnx_builder import Builder

if TYPE_CHECKING:
    from headstart.models.input import Input

FILTERS = ("bicubic", "bilinear")  # those of torch's kernel; a run resizes by others with Pillow
PIXELS, IMAGES = "image", "images"  # the names of the input and of the output


def build(expected: Input, size: int, opsets: Any, ir_version: int) -> Any:
    """Build the graph.

    It resizes the image with antialiasing, crops or pads as `headstart.data.square` says, and
    normalises.

    Args:
        size: side of the square before the centre crop.

    Raises:
        UserError: of a filter other than these.
    """
    from onnx import TensorProto, helper

    if expected.interpolation not in FILTERS:
        raise UserError(
            f"--onnx: images are resized by {expected.interpolation}, but a graph can do {' and '.join(FILTERS)} only: "
            "export without --onnx"
        )
    build, crop = Builder("pixels"), expected.image_size
    image, sides = PIXELS, _measure(build, PIXELS)
    if expected.resize == "crop":
        image = _cut_strip(build, image, sides)
        sides = _measure(build, image)
    new = _fit(build, sides, expected.resize, size)
    resized = _resize(build, image, sides, new, expected.interpolation)
    if expected.resize == "pad":
        resized = _pad(build, resized, new, size, crop, expected.mean)
        new = build.constant([size, size], np.int64)
    start = build.halve(build.add("Sub", new, build.constant([crop], np.int64)))
    stop = build.add("Add", start, build.constant([crop], np.int64))
    square = build.add("Slice", resized, start, stop, build.constant([2, 3], np.int64))
    mean, std = (
        build.constant(np.reshape(values, (1, 3, 1, 1)), np.float32) for values in (expected.mean, expected.std)
    )
    scaled = build.add("Div", square, build.constant(255, np.float32))
    build.add("Div", build.add("Sub", scaled, mean), std, output=IMAGES)
    given = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["height", "width", 3])
    made = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, [1, 3, crop, crop])
    return build.finish([given], [made], opsets, ir_version)


def _measure(build: Builder, image: str) -> str:
    """Height and width [2] of an image [H, W, 3]."""
    return build.add("Slice", build.add("Shape", image), build.constant([0], np.int64), build.constant([2], np.int64))


def _cut_strip(build: Builder, image: str, sides: str) -> str:
    """The middle of a very long strip, as `headstart.data.decode` cuts it out before the resize."""
    short = build.add("ReduceMin", sides, keepdims=1)
    kept = build.add("Min", sides, build.add("Mul", short, build.constant([LONGEST], np.int64)))
    start = build.add("Div", build.add("Sub", sides, kept), build.constant([2], np.int64))
    return build.add("Slice", image, start, build.add("Add", start, kept), build.constant([0, 1], np.int64))


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


def _resize(build: Builder, image: str, sides: str, new: str, interpolation: str) -> str:
    """The image as whole values [1, 3, h, w] in float32, resized to the bit as torch's uint8 kernel does it.

    Each row is resized and rounded, then each column of what came out. These are two products with matrices of
    weights, and not ONNX's own Resize: that rounds otherwise, and not every runtime has its antialiasing.
    """
    image = build.cast(build.add("Transpose", image, perm=[2, 0, 1]), np.float64)
    places = [build.constant([at], np.int64) for at in (0, 1, 2)]
    pairs = [[build.add("Slice", each, *places[at : at + 2]) for each in (sides, new)] for at in (0, 1)]
    sizes = [(before, after) for before, after in pairs]
    across, across_one = onnx_weights.make_weights(build, sizes[1], interpolation)
    image = _divide(build, build.add("MatMul", image, build.add("Transpose", across, perm=[1, 0])), across_one)
    down, down_one = onnx_weights.make_weights(build, sizes[0], interpolation)
    image = _divide(build, build.add("MatMul", down, image), down_one)
    return build.add("Unsqueeze", build.cast(image, np.float32), places[0])


def _divide(build: Builder, sums: str, one: str) -> str:
    """The sums over weights that add up to `one`, as rounded values from 0 to 255."""
    half = build.add("Mul", one, build.constant(0.5, np.float64))
    rounded = build.add("Floor", build.add("Div", build.add("Add", sums, half), one))
    return build.add("Clip", rounded, build.constant(0, np.float64), build.constant(255, np.float64))


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
