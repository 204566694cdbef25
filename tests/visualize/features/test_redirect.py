"""Redirected gradients: a silent unit can be woken, and a working one gets the gradient of its ReLU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import headstart
from headstart.visualize.features.redirect import redirect_gradients
from headstart.visualize.forward import to_input


def gradient(function: Callable[[Tensor], Tensor], x: list[float], sign: float = 1) -> list[float]:
    """The gradient of ± the sum of a function, in x."""
    point = torch.tensor([x], requires_grad=True)
    (sign * function(point * 1).sum()).backward()
    assert point.grad is not None
    return point.grad[0].tolist()


RELUS = [functional.relu, torch.relu, torch.relu_, nn.ReLU(), nn.ReLU(inplace=True), lambda x: x.relu()]
RELUS6 = [functional.relu6, nn.ReLU6(), nn.ReLU6(inplace=True), lambda x: functional.hardtanh(x, 0.0, 6.0)]


@pytest.mark.parametrize("relu", RELUS + RELUS6)
def test_below_zero_only_what_raises_the_input_passes(relu: Callable[[Tensor], Tensor]) -> None:
    assert gradient(relu, [-1.0, -2.0], sign=-1) == [0, 0]
    with redirect_gradients():
        assert gradient(relu, [-1.0, -2.0], sign=-1) == [-1, -1]  # the loss falls where x rises
        assert gradient(relu, [-1.0, -2.0]) == [0, 0]


@pytest.mark.parametrize("relu", RELUS6)
def test_above_six_only_what_lowers_the_input_passes(relu: Callable[[Tensor], Tensor]) -> None:
    with redirect_gradients():
        assert gradient(relu, [7.0, 8.0]) == [1, 1]
        assert gradient(relu, [7.0, 8.0], sign=-1) == [0, 0]


@pytest.mark.parametrize("relu", RELUS + RELUS6)
def test_where_some_of_the_gradient_is_left_it_is_the_relus_own(relu: Callable[[Tensor], Tensor]) -> None:
    with redirect_gradients():
        assert gradient(relu, [-1.0, 2.0], sign=-1) == [0, -1]


def test_a_network_gives_the_same_answers_inside() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    image = to_input(network, torch.rand(1, 3, 64, 64))
    with torch.no_grad():
        plain = network.module(image)
        with redirect_gradients():
            torch.testing.assert_close(network.module(image), plain)
