"""The weights by which torch's uint8 kernel resizes with antialiasing, computed inside an ONNX graph from the sizes.

With scale s = in / out, stretched by t = max(s, 1), value i of the result is the sum over k of `w_ik x_k`, where

    w_ik = f((k + 1/2 - c_i) / t) / sum_k f(...),    c_i = s (i + 1/2),    |k + 1/2 - c_i| within t times f's reach

and f is Keys' cubic with a = -1/2 (reach 2), or the triangle (reach 1). The kernel then multiplies all weights by one
power of two, as large as the largest weight allows in 15 bits, and rounds them to whole numbers (torch 2.15,
`aten/src/ATen/native/cpu/UpSampleKernel.cpp`, as Pillow does it). All sums are exact in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headstart.export.onnx_builder import Builder

MOST_BITS = 22.0


def make_weights(build: Builder, sizes: tuple[str, str], interpolation: str) -> tuple[str, str]:
    """The whole weights, float64 [out, in], and the power of two that stands for 1.

    Args:
        sizes: the number of pixels before and after, int64 [1] each.
    """
    given, wanted = sizes
    number, add, cast = lambda value: build.constant(value, np.float64), build.add, build.cast
    before, after = cast(given, np.float64), cast(wanted, np.float64)
    scale = add("Div", before, after)
    stretch = add("Max", scale, number(1))
    reach = add("Mul", stretch, number(2 if interpolation == "bicubic" else 1))
    centre = add("Mul", scale, add("Add", _count(build, wanted, [-1, 1]), number(0.5)))
    column = _count(build, given, [1, -1])
    low = add("Floor", add("Add", add("Sub", centre, reach), number(0.5)))
    high = add("Floor", add("Add", add("Add", centre, reach), number(0.5)))
    inside = add("And", add("GreaterOrEqual", column, low), add("Less", column, high))
    apart = add("Div", add("Add", add("Sub", column, centre), number(0.5)), stretch)
    raw = add("Where", inside, _apply_filter(build, add("Abs", apart), interpolation), number(0))
    weights = add("Div", raw, add("ReduceSum", raw, build.constant([1], np.int64), keepdims=1))
    one = _choose_one(build, add("ReduceMax", weights, keepdims=0))
    size = add("Floor", add("Add", add("Mul", add("Abs", weights), one), number(0.5)))
    return add("Mul", add("Sign", weights), size), one


def _count(build: Builder, number: str, shape: list[int]) -> str:
    """0, 1, … number - 1 as float64 in this shape."""
    stop = build.add("Squeeze", number, build.constant([0], np.int64))
    counted = build.add("Range", build.constant(0, np.int64), stop, build.constant(1, np.int64))
    return build.add("Reshape", build.cast(counted, np.float64), build.constant(shape, np.int64))


def _apply_filter(build: Builder, x: str, interpolation: str) -> str:
    """f(x) for x of 0 or more."""
    number, add = lambda value: build.constant(value, np.float64), build.add

    def polynomial(*coefficients: float) -> str:  # the highest power first
        value = number(coefficients[0])
        for each in coefficients[1:]:
            value = add("Add", add("Mul", value, x), number(each))
        return value

    if interpolation == "bilinear":
        return add("Max", polynomial(-1, 1), number(0))
    outer = add("Where", add("Less", x, number(2)), polynomial(-0.5, 2.5, -4, 2), number(0))
    return add("Where", add("Less", x, number(1)), polynomial(1.5, -2.5, 0, 1), outer)


def _choose_one(build: Builder, largest: str) -> str:
    """The power of two that the weights are multiplied by: twice of it would not leave the largest below 2 ** 15."""
    number, add = lambda value: build.constant(value, np.float64), build.add
    ratio = add("Div", number(2**15 - 0.5), largest)
    bits = add("Sub", add("Ceil", add("Div", add("Log", ratio), number(np.log(2)))), number(1))
    return add("Pow", number(2), add("Min", add("Max", bits, number(0)), number(MOST_BITS)))
