"""Integrated gradients and occlusion, on a network whose answers can be worked out."""

import sys

import pytest
import torch

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.predict.load import load_network
from headstart.visualize.why.captum_maps import integrate_gradients, occlude

pytest.importorskip("captum")
LINEAR = load_network(ModelConfig("linear", "none"), torch.device("cpu"))  # a linear function of 32 x 32 pixels
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([3, 8])
WEIGHTS = LINEAR.network.fc.weight.detach()[TARGETS].view(2, 3, 32, 32)


def test_integrated_gradients_add_up() -> None:
    maps = integrate_gradients(LINEAR, IMAGES, TARGETS)
    torch.testing.assert_close(maps.values, (WEIGHTS * IMAGES).sum(1), rtol=1e-3, atol=1e-5)
    assert maps.gaps.abs().max() < 1e-3


def test_occlusion_is_what_a_window_adds() -> None:
    maps = occlude(LINEAR, IMAGES, TARGETS)
    first = (WEIGHTS * IMAGES).sum(1)[:, :5, :5].sum((1, 2))  # a window is 5 px wide, the next begins at 2
    torch.testing.assert_close(maps.values[:, 0, 0], first / 25, rtol=1e-3, atol=1e-6)


def test_without_the_package_words_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    for method in (integrate_gradients, occlude):
        with pytest.raises(UserError, match=r"pip install 'headstart\[inside\]'"):
            method(LINEAR, IMAGES, TARGETS)
