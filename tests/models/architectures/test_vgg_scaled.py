"""The narrow VGG is timm's VGG with fewer channels."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, split  # noqa: F401
from headstart.models.outline import without_values
from models.networks import RULES, trainable


def meta(name: str, **options: Any) -> Any:
    with without_values():
        return timm.create_model(name, **options)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("norm", [True, False])
def test_whole_it_is_timms(depth: int, norm: bool) -> None:
    theirs = meta(f"vgg{depth}_bn" if norm else f"vgg{depth}")
    assert shapes(meta("vgg_scaled", depth=depth, norm=norm)) == shapes(theirs)


def test_each_layer_is_narrower() -> None:
    narrow, whole = shapes(meta("vgg_scaled", width=0.125, norm=False)), shapes(meta("vgg16"))
    kept = {"pre_logits.fc2", "head.fc"}  # the second hidden layer's outputs
    for name, shape in whole.items():
        assert narrow[name][0] == (shape[0] if name.rpartition(".")[0] in kept else shape[0] // 8), name


def test_the_uniform_interface() -> None:
    model = timm.create_model("vgg_scaled", depth=11, width=1 / 16, num_classes=7).eval()
    x = torch.rand(2, 3, 64, 64)
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, 2, 2)
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    for rules in RULES:
        found = split.split_network(model, trainable(model, rules), x)
        assert found is not None
        assert torch.allclose(found.rest(found.prefix(x)), model(x), atol=1e-5)
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)


@pytest.mark.parametrize("args", [{"depth": 12}, {"width": 0}])
def test_what_it_cannot_be_is_named(args: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="11, 13, 16 or 19"):
        factory.build_outline(ModelConfig("vgg_scaled", "none", args))
