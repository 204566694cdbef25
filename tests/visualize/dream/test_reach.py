"""How far a layer sees is measured; networks that see everything at once are known as such."""

from __future__ import annotations

import pytest

import headstart
from headstart.errors import UserError
from headstart.visualize.dream.reach import measure_reach


def test_of_a_network_whose_layers_are_known() -> None:
    # conv1: 7 × 7, stride 2; a position of conv2 sees conv1 through 3 × 3 pooling and 3 × 3 kernels, both with stride 4
    network = headstart.load("googlenet_small", "cpu")
    first, second = (measure_reach(network, [layer]) for layer in ("conv1", "conv2"))
    assert (first.stride, first.local) == (2, True)
    assert 2 <= first.pixels <= 4
    assert (second.stride, second.local) == (4, True)
    assert first.pixels < second.pixels <= 12


def test_deeper_layers_see_farther_and_two_have_the_larger() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    shallow, deep = (measure_reach(network, [layer]) for layer in ("blocks.0", "blocks.2"))
    assert shallow.pixels < deep.pixels
    assert shallow.stride < deep.stride
    assert deep.halo >= 2 * deep.pixels
    assert measure_reach(network, ["blocks.0", "blocks.2"]) == deep


def test_squeeze_excite_sees_the_whole_image() -> None:
    assert not measure_reach(headstart.load("efficientnet_small", "cpu"), ["blocks.2"]).local


def test_a_vector_cannot_dream() -> None:
    with pytest.raises(UserError, match="does not grow with the image"):
        measure_reach(headstart.load("lenet5", "cpu"), ["f6"])
