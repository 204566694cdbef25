"""Layers are found by name, by depth, and spread over the depths by default."""

from __future__ import annotations

from functools import cache

import pytest

import headstart
from headstart.errors import UserError
from headstart.visualize.layers import Layer, choose_layers, find_layers


@cache
def layers(name: str = "efficientnet_lite0") -> dict[str, Layer]:
    return find_layers(headstart.load(name, "cpu"), 64)


def names(wanted: list[str] | None, network: str = "efficientnet_lite0") -> list[str]:
    return [layer.name for layer in choose_layers(layers(network), wanted)]


def test_each_depth_ends_with_its_last_layer_that_has_weights() -> None:
    ends = {layer.stage: layer.name for layer in layers().values() if layer.stage is not None}
    assert ends == dict(enumerate(("bn1", *(f"blocks.{at}" for at in range(6)), "bn2")))


def test_of_other_families_too() -> None:
    assert names(None, "lenet5") == ["s2", "s4", "c5", "f6"]
    assert names(None, "resnet_small") == ["bn1", "layer1", "layer3", "layer4"]
    assert names(["-1"], "densenet_small") == ["features.norm5"]


def test_four_depths_by_default_from_the_first_to_the_last() -> None:
    assert names(None) == ["bn1", "blocks.1", "blocks.4", "bn2"]


def test_by_depth_by_name_and_inside_a_block() -> None:
    assert names(["depth2", "-2", "0", "blocks.3.1.conv_pw"]) == ["blocks.1", "blocks.5", "bn1", "blocks.3.1.conv_pw"]
    assert layers()["blocks.3.1.conv_pw"].channels == 480


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("block.3", r"no layer of this name; did you mean blocks\.3\?"),
        ("8", "these depths: 0 = bn1, 1 = blocks.0"),
        ("-9", "these depths"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(wanted: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        names([wanted])
