"""Stacked 3x3 kernels and single large ones see the same, at the costs that the paper counts."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, split  # noqa: F401
from models.networks import RULES, trainable

FIELDS = (5, 7, 11)


def seen(module: nn.Module, channels: int, side: int = 64) -> int:
    """How many pixels a side of the input one output depends on, by its gradient."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1.0)  # nothing is cut off by a ReLU, and nothing cancels
    x = torch.rand(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    out = module.double().eval()(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert x.grad is not None
    columns = x.grad[0].abs().sum((0, 1)).nonzero().flatten()
    return int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("stacked", [True, False])
def test_a_stage_sees_its_field(field: int, stacked: bool) -> None:
    model = timm.create_model("stacked_kernels", field=field, stacked=stacked, width=4)
    assert seen(model.stem, 3) == 1
    assert seen(model.stages[0], 4) == field


@pytest.mark.parametrize("field", FIELDS)
def test_whole_networks_see_the_same(field: int) -> None:
    def whole(stacked: bool) -> nn.Module:
        model: Any = timm.create_model("stacked_kernels", field=field, stacked=stacked, width=4)
        return nn.Sequential(model.stem, model.stages[0], nn.AvgPool2d(2), model.stages[1][1:])  # all 4, not the best

    assert seen(whole(True), 3) == seen(whole(False), 3) == field + 1 + 2 * (field - 1)


@pytest.mark.parametrize("field", FIELDS)
def test_weights_are_9nc2_and_k2c2(field: int) -> None:
    width, layers = 8, field // 2
    counts = {}
    for stacked in (True, False):
        model = timm.create_model("stacked_kernels", field=field, stacked=stacked, width=width)
        convolutions = [layer for layer in model.stages[0].modules() if isinstance(layer, nn.Conv2d)]
        counts[stacked] = sum(layer.weight.numel() for layer in convolutions)
        assert len(convolutions) == (layers if stacked else 1)
    assert counts == {True: 9 * layers * width**2, False: field**2 * width**2}
    if field == 7:
        assert counts[False] / counts[True] == pytest.approx(1.81, abs=0.005), "the paper's 81 % more"


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("stacked", [True, False])
def test_the_uniform_interface(stacked: bool, norm: bool) -> None:
    model = timm.create_model("stacked_kernels", stacked=stacked, norm=norm, width=8, num_classes=7).eval()
    x = torch.rand(2, 3, 32, 32)
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, 16, 16)
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    for rules in RULES:
        found = split.split_network(model, trainable(model, rules), x)
        assert found is not None
        assert torch.allclose(found.rest(found.prefix(x)), model(x), atol=1e-5)
    groups = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    assert max(groups.values()) == 1 + 2 * (3 if stacked else 1), "stem, convolutions, head"
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    assert isinstance(timm.create_model("stacked_kernels", num_classes=0).get_classifier(), nn.Identity)


def test_what_it_cannot_be_is_named() -> None:
    for field in (1, 6):
        with pytest.raises(UserError, match="3, 5, 7"):
            factory.build_outline(ModelConfig("stacked_kernels", "none", {"field": field}))
    with pytest.raises(UserError, match="at least 1"):
        factory.build_outline(ModelConfig("stacked_kernels", "none", {"stages": 0}))
