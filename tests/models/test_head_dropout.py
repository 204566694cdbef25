"""Dropout before the head is the same on images and on cached features, however a network applies it."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import AugmentConfig, PhaseConfig
from headstart.models import architectures  # noqa: F401
from headstart.models.head_dropout import find_head_dropout
from headstart.models.split import split_network
from headstart.strategy.plan import freeze, plan_phases, train_mode
from headstart.strategy.route import LiveImages, choose_route

RATE = 0.4
# a network of each family that applies dropout in its own way, and the side of its images
FAMILIES = {
    "densenetblur121d": 32,
    "inception_v3": 75,
    "vit_tiny_patch16_224": 224,
    "hrnet_w18_small": 32,
    "dla46_c": 32,
    "fastvit_t8": 64,
    "resnet18": 32,
    "efficientnet_b0": 32,
    "mobilenetv3_small_050": 32,
    "convnext_atto": 32,
    "ghostnet_050": 32,
    "mixer_s32_224": 224,
    "nasnet_mobile": 64,
    "alexnet": 67,
    "resnet20_cifar": 32,
}
HEAD_ONLY = {"tail": PhaseConfig(rates={"head": 1, "backbone": None}, epochs=1, augment=False)}


@pytest.mark.parametrize("name", FAMILIES)
def test_cached_and_live_training_drop_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, drop_rate=RATE)
    nn.init.normal_(model.get_classifier().weight)  # zero in some networks
    x = torch.rand(4, 3, FAMILIES[name], FAMILIES[name])
    (phase,) = plan_phases(model, HEAD_ONLY)
    freeze(model, phase)
    cut = split_network(model, phase.trainable, x)
    assert cut is not None
    with torch.no_grad():
        plain = model.eval()(x)
        train_mode(model)
        torch.manual_seed(1)
        live = model(x)
        features = cut.prefix.eval()(x)
        train_mode(cut.rest)
        torch.manual_seed(1)
        cached = cut.rest(features)
    assert (live - plain).abs().max() > 0.01 * plain.abs().max(), "dropout is at work"
    torch.testing.assert_close(cached, live, rtol=1e-4, atol=1e-5)


def test_rates_are_in_order_and_zero_is_none() -> None:
    with torch.device("meta"):
        assert find_head_dropout(timm.create_model("densenet121")) == []
        assert find_head_dropout(timm.create_model("nasnetalarge", drop_rate=RATE)) == [RATE]


class Untraceable(nn.Module):
    """A network whose way to its head depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop, self.fc = nn.Conv2d(3, 4, 3), nn.Dropout(RATE), nn.Linear(4, 10)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = x.mean((2, 3))
        x = self.drop(x) if x.sum() > -1e9 else x
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def test_a_network_that_hides_its_dropout_trains_on_images_and_says_so() -> None:
    model = Untraceable()
    assert find_head_dropout(model) is None
    (phase,) = plan_phases(model, HEAD_ONLY)
    route = choose_route(model, phase, AugmentConfig(), 16)
    assert isinstance(route, LiveImages)
    assert "it is not known which dropout stands before the head" in route.describe()
    model.drop.p = 0.0
    assert not isinstance(choose_route(model, phase, AugmentConfig(), 16), LiveImages)
