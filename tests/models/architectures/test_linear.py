"""Logistic regression on pixels as a network like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, preprocessing, split  # noqa: F401
from models.networks import trainable


@pytest.mark.parametrize(("classes", "chans", "parameters"), [(10, 3, 30_730), (10, 1, 10_250), (7, 3, 21_511)])
def test_parameters_are_pixels_times_classes_and_biases(classes: int, chans: int, parameters: int) -> None:
    model = timm.create_model("linear", num_classes=classes, in_chans=chans)
    assert sum(weight.numel() for weight in model.parameters()) == parameters == (32 * 32 * chans + 1) * classes


def test_it_is_linear_in_the_pixels() -> None:
    model = timm.create_model("linear", num_classes=10).eval()
    one, two = torch.rand(2, 4, 3, 32, 32)
    nothing = model(torch.zeros(4, 3, 32, 32))
    assert torch.allclose(
        model(2 * one - two) - nothing, 2 * (model(one) - nothing) - (model(two) - nothing), atol=1e-5
    )


@pytest.mark.parametrize("side", [16, 32, 64])
def test_any_size_is_seen_as_32_pixels(side: int) -> None:
    model = timm.create_model("linear").eval()
    small = torch.rand(2, 3, 16, 16)
    shown = torch.nn.functional.interpolate(small, size=side)
    assert torch.allclose(model(shown), model(torch.nn.functional.interpolate(small, size=32)), atol=1e-5)


def test_the_uniform_interface() -> None:
    model = timm.create_model("linear", num_classes=7, drop_rate=0.5).eval()
    x = torch.rand(2, 3, 32, 32)
    features = model.forward_features(x)
    assert features.shape == (2, 3, 32, 32)
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
    assert model.head_hidden_size == model.num_features == 3072
    assert torch.equal(model.forward_head(features), model(x))
    assert model.get_classifier() is model.fc
    assert model.pretrained_cfg["classifier"] == "fc"
    assert split.split_network(model, trainable(model, {"head": 1}), x) is None, "nothing in it can be frozen"
    model.reset_classifier(0)
    assert torch.equal(model(x), x.flatten(1))
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)


def test_the_factory_knows_it() -> None:
    config = ModelConfig("linear", "none")
    assert preprocessing.expected_input(config).image_size == 32
    model, _ = factory.create(config, list("0123456789"), pretrained=False)
    assert model(torch.rand(1, 3, 48, 48)).shape == (1, 10)


def test_weights_are_loaded_and_typos_are_refused() -> None:
    source = timm.create_model("linear", num_classes=10)
    overlay = {"state_dict": source.state_dict(), "num_classes": 10, "source": ""}
    loaded = timm.create_model("linear", num_classes=10, pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(loaded.fc.weight, source.fc.weight)
    with pytest.raises(UserError, match="fooo"):
        factory.create(ModelConfig("linear", "none", {"fooo": 1}), tuple("01"), pretrained=False)


def test_it_learns(run_small: Callable[..., dict]) -> None:
    """Ten digits are 10 % by chance."""
    options = ("model=linear", "strategy=scratch", "augment=none", "data.train_per_class=20", "data.n_test=200")
    result = run_small(*options, "epochs=10")
    assert result["params"] == {"total": 30_730, "trainable": 30_730}
    assert result["test"]["accuracy"] > 0.6
