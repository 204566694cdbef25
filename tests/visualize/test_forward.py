"""A network runs up to a layer and no further, and its map is the one that the whole network computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import headstart
from headstart.visualize.forward import as_map, compute_map, lift_ceiling, run_to, to_input, without_weight_gradients


def test_nothing_behind_the_layer_runs() -> None:
    network = headstart.load("efficientnet_lite0", "cpu").network
    called = []
    for name in ("blocks.1", "blocks.2.0.conv_pw"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: called.append(name))
    found = run_to(network, torch.rand(1, 3, 64, 64), {"blocks.1": lambda maps: maps.shape})
    assert found == {"blocks.1": (1, 24, 16, 16)}
    assert called == ["blocks.1"]


def test_the_map_is_taken_before_a_later_layer_writes_into_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    image = torch.rand(1, 3, 8, 8)
    found = run_to(network, image, {"0": torch.clone, "1": torch.clone})
    assert (found["0"] < 0).any()
    torch.testing.assert_close(found["1"], found["0"].relu())


def test_logits_are_a_map_with_one_position() -> None:
    network = headstart.load("lenet5", "cpu")
    image = to_input(network, torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(compute_map(network, image, None)[..., 0, 0], network.module(image))


def test_pictures_are_normalised_as_the_network_expects_it() -> None:
    network = headstart.load("resnet_small", "cpu")
    pixels = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(to_input(network, pixels / 255), network.normalize(pixels))


def test_weights_get_no_gradients_inside_and_may_again_outside() -> None:
    network = headstart.load("lenet5", "cpu")
    with without_weight_gradients(network):
        assert not any(each.requires_grad for each in network.module.parameters())
    assert all(each.requires_grad for each in network.module.parameters())


@pytest.mark.parametrize("shape", [(2, 5), (2, 7, 5), (2, 5, 3, 3)])
def test_vectors_and_tokens_become_maps(shape: tuple[int, ...]) -> None:
    output: Any = torch.rand(shape)
    maps = as_map((output, None))
    assert maps.ndim == 4
    assert maps.shape[:2] == (2, 5)


def test_a_layer_that_ends_in_relu6_is_read_before_it() -> None:
    network = headstart.load("efficientnet_lite0", "cpu").network
    assert lift_ceiling(network, "bn1") == ("bn1.drop", True)
    assert lift_ceiling(network, "blocks.1") == ("blocks.1", False)
    image = 5 * torch.randn(1, 3, 64, 64)
    found = run_to(network, image, {"bn1.drop": torch.clone, "bn1": torch.clone})
    assert found["bn1.drop"].max() > 6
    torch.testing.assert_close(found["bn1.drop"].clamp(0, 6), found["bn1"])
