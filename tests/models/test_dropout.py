"""Dropout and drop path are the same on images and on cached features, however and wherever a network applies them."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import EvoNorm2dB0
from torch import nn

from headstart.config.schema import AugmentConfig, PhaseConfig
from headstart.models import architectures  # noqa: F401
from headstart.models.modes import train_mode
from headstart.models.split import NetworkSplit, split_network
from headstart.strategy.plan import Phase, freeze, plan_phases
from headstart.strategy.route import FittedHead, LiveImages, choose_route

RATE = 0.4
PATHS = {"drop_path_rate": RATE}
# a network of each family that applies them in its own way, the side of its images, and its rates besides `drop_rate`
FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "densenet121": (32, {"proj_drop_rate": RATE}),
    "inception_v3": (75, {}),
    "vit_tiny_patch16_224": (224, PATHS | {"proj_drop_rate": RATE, "depth": 3}),
    "hrnet_w18_small": (32, {}),
    "dla46_c": (32, {}),
    "fastvit_t8": (64, PATHS | {"proj_drop_rate": RATE}),
    "resnet18": (32, PATHS | {"drop_block_rate": RATE}),
    "efficientnet_lite0": (32, PATHS),
    "mobilenetv3_small_050": (32, PATHS),
    "convnext_atto": (32, PATHS),
    "swin_tiny_patch4_window7_224": (32, PATHS | {"img_size": 32, "depths": (1, 1, 1, 2), "window_size": 1}),
    "ghostnet_050": (32, {}),
    "mixer_s32_224": (224, PATHS | {"proj_drop_rate": RATE}),
    "nasnet_mobile": (64, {}),
    "alexnet": (67, {}),
    "resnet20_cifar": (32, {}),
    "densenet_bc_100_12": (32, {"depth": 16}),
}
QUICK = ("inception_v3", "resnet18", "efficientnet_lite0", "convnext_atto", "mixer_s32_224", "resnet20_cifar")
HEAD_ONLY = {"head": 1, "backbone": None}
LAST_STAGE = {"depth0-1": 1, "all": None}
# the first has no blocks that can be split in torch's graph, the second no dropout at its head
NOT_TOGETHER = (("vit_tiny_patch16_224", "last stage"), ("densenet_bc_100_12", "head"))


def network(name: str, **rates: Any) -> Any:
    """A network of which each branch and the head count: in some they are zero at the start."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, drop_rate=RATE, **rates)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    nn.init.normal_(model.get_classifier().weight)
    return model


def plan(model: nn.Module, rates: dict) -> Phase:
    return plan_phases(model, {"tail": PhaseConfig(rates=rates, epochs=1, augment=False)})[0]


@torch.no_grad()
def assert_drops_the_same(model: nn.Module, cut: NetworkSplit, x: torch.Tensor) -> None:
    """With the same random numbers, the halves give the network's logits in training, and these are not those of eval.

    Batch norms keep their statistics: those of a few images magnify rounding.
    """
    plain = model.eval()(x)
    for seed in range(3):
        train_mode(model, "frozen")
        torch.manual_seed(seed)
        live = model(x)
        assert (live - plain).abs().max() > 0.01 * plain.abs().max(), "dropout is at work"
        features = cut.prefix.eval()(x)
        train_mode(cut.rest, "frozen")
        torch.manual_seed(seed)
        torch.testing.assert_close(cut.rest(features), live, rtol=1e-4, atol=1e-4 * float(live.abs().max()))
    features = cut.prefix.eval()(x)
    torch.testing.assert_close(cut.rest.eval()(features), plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        pytest.param(name, learns, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in FAMILIES
        for learns in ("head", "last stage")
        if (name, learns) not in NOT_TOGETHER
    ],
)
def test_cached_and_live_training_drop_the_same(name: str, learns: str) -> None:
    side, more = FAMILIES[name]
    rates = HEAD_ONLY if learns == "head" else LAST_STAGE
    model = network(name, **more)
    x = torch.rand(4, 3, side, side)
    phase = plan(model, rates)
    freeze(model, phase)
    cut = split_network(model, phase.trainable, x)
    assert cut is not None
    if learns == "head":
        behind = {id(parameter) for parameter in cut.rest.parameters()}
        assert {key for key, parameter in model.named_parameters() if id(parameter) in behind} == phase.trainable
    assert_drops_the_same(model, cut, x)


@pytest.mark.slow
def test_nasnet_drops_the_same() -> None:
    model = network("nasnetalarge")
    x = torch.rand(2, 3, 96, 96)
    phase = plan(model, HEAD_ONLY)
    freeze(model, phase)
    cut = split_network(model, phase.trainable, x)
    assert cut is not None
    assert_drops_the_same(model, cut, x)


@pytest.mark.parametrize("name", ["densenet121", "fastvit_t8", "mixer_s32_224"])
def test_what_frozen_blocks_would_drop_does_not_shorten_the_prefix(name: str) -> None:
    side, more = FAMILIES[name]
    x = torch.rand(2, 3, side, side)
    with_rates, without = network(name, **more), network(name, **more | {key: 0.0 for key in more if "rate" in key})
    places = [split_network(model, plan(model, LAST_STAGE).trainable, x) for model in (with_rates, without)]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0].at == places[1].at


def test_dropout_beside_frozen_blocks_is_live_so_that_the_blocks_are_not_cached() -> None:
    """It has the mode of the network that holds it, which has a head that learns."""
    model = network("vit_tiny_patch16_224", pos_drop_rate=RATE, depth=2)
    phase = plan(model, HEAD_ONLY)
    freeze(model, phase)
    train_mode(model)
    assert model.pos_drop.training
    assert not model.blocks[0].drop_path1.training
    route = choose_route(model, phase, AugmentConfig(), 224)
    assert isinstance(route, LiveImages)
    assert "without the dropout of VisionTransformer" in route.describe()


def test_the_network_is_left_as_it_was() -> None:
    """Modes, what learns, weights, statistics that are not a batch norm's, and the random numbers that follow."""
    model = network("resnet18", norm_layer=EvoNorm2dB0)
    model.layer2.eval()
    model.conv1.weight.requires_grad_(False)

    def look() -> tuple:
        values = {name: value.clone() for name, value in model.state_dict().items()}
        return values, [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]

    x = torch.rand(2, 3, 32, 32)
    values, *before = look()
    state = torch.get_rng_state()
    assert split_network(model, plan(model, LAST_STAGE).trainable, x) is not None
    found, *after = look()
    assert after == before
    assert all(torch.equal(found[name], value) for name, value in values.items())
    assert torch.equal(torch.get_rng_state(), state)


class Untraceable(nn.Module):
    """A network whose way to its head depends on values, with a head of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop, self.fc = nn.Conv2d(3, 4, 3), nn.Dropout(RATE), nn.Linear(4, 10)
        nn.init.zeros_(self.fc.weight)

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
    route = choose_route(model, plan(model, HEAD_ONLY), AugmentConfig(), 16)
    assert isinstance(route, LiveImages)
    assert "without the dropout of Untraceable" in route.describe()
    assert not model.fc.weight.any(), "weights are as before"
    model.drop.p = 0.0
    assert not isinstance(choose_route(model, plan(model, HEAD_ONLY), AugmentConfig(), 16), LiveImages)


def test_a_fitted_head_needs_no_dropout() -> None:
    model = Untraceable()
    config = PhaseConfig(rates=HEAD_ONLY, probe={"_target_": "headstart.probe.Ridge"}, augment=False)
    (phase,) = plan_phases(model, {"fit": config})
    route = choose_route(model, phase, AugmentConfig(), 16)
    assert isinstance(route, FittedHead)
    assert route.split.at == "head"
