"""Compound scaling: the three factors, the network they build, and that its measured cost follows the law."""

from __future__ import annotations

import math
from functools import cache

import pytest
import timm
import torch
from timm.models.efficientnet import EfficientNet

from headstart.config.schema import ModelConfig
from headstart.models import architectures, factory, preprocessing  # noqa: F401
from headstart.models.architectures.efficientnet_scaled import Scale, compute_scale
from headstart.models.cost import count_gmacs
from headstart.models.outline import without_values
from headstart.strategy import plan

SMALL = {"base_resolution": 32, "base_width": 0.25, "base_depth": 0.5}


def outline(**options: float) -> EfficientNet:
    with without_values():
        return timm.create_model("efficientnet_scaled", **options)


def count(model: EfficientNet) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@cache
def measured(**options: float) -> float:
    """GMACs at the network's own resolution."""
    model = outline(**options)
    return count_gmacs(model, model.pretrained_cfg["input_size"][-1])


@pytest.mark.parametrize("phi", [0, 0.5, 1, 2, 3, 7])
def test_factors_are_powers_of_phi(phi: float) -> None:
    scale = compute_scale(phi, 1.2, 1.1, 1.15)
    assert scale.depth == pytest.approx(1.2**phi)
    assert scale.width == pytest.approx(1.1**phi)
    assert abs(scale.resolution - 224 * 1.15**phi) <= 2
    assert scale.resolution % 4 == 0


def test_base_is_multiplied() -> None:
    assert compute_scale(1, 2, 3, 1.5, base_depth=0.5, base_width=0.25, base_resolution=64) == Scale(1.0, 0.75, 96)
    assert compute_scale(3, gamma=1, base_resolution=30).resolution == 32, "halves are rounded up"


def test_phi_half_is_the_released_b1() -> None:
    scale = compute_scale(0.5)
    assert (round(scale.width, 1), round(scale.depth, 1), scale.resolution) == (1.0, 1.1, 240)


def test_a_rounding_error_adds_no_block() -> None:
    assert math.sqrt(2) ** 2 > 2
    assert compute_scale(2, alpha=math.sqrt(2)).depth == 2
    whole, root = outline(phi=1, alpha=2, beta=1, gamma=1), outline(phi=2, alpha=math.sqrt(2), beta=1, gamma=1)
    assert count(whole) == count(root)


def test_phi_0_is_b0() -> None:
    model = outline()
    with without_values():
        b0 = timm.create_model("efficientnet_b0")
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in b0.state_dict().items()}
    assert count(model) == count(b0) == 5_288_548
    assert model.pretrained_cfg["input_size"] == (3, 224, 224)


@pytest.mark.parametrize("phi", [1, 2, 4])
def test_network_has_the_scales_depth_and_width(phi: int) -> None:
    model, scale = outline(phi=phi), compute_scale(phi)
    assert [len(stage) for stage in model.blocks] == [math.ceil(r * scale.depth) for r in (1, 2, 2, 3, 3, 4, 1)]
    b0 = [info["num_chs"] for info in outline().feature_info]
    for chs, base in zip([info["num_chs"] for info in model.feature_info], b0, strict=True):
        assert chs % 8 == 0
        assert 0.9 * base * scale.width <= chs <= base * scale.width + 8, "rounded to 8, never below 90 %"
    side = scale.resolution
    assert model.pretrained_cfg["input_size"] == (3, side, side)
    assert model.pretrained_cfg["pool_size"] == (math.ceil(side / 32),) * 2


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma", "phis", "tolerance"),
    [  # one factor alone doubles the cost at each step
        (2, 1, 1, (1, 2, 3), 0.04),
        (1, math.sqrt(2), 1, (1, 2, 3), 0.10),  # depthwise cost grows with the width only, not its square
        (1, 1, math.sqrt(2), (1, 2, 3), 0.02),
        (1.2, 1.1, 1.15, (1, 2, 4), 0.30),  # repeats are rounded up in each of 7 stages
        (1.2, 1.1, 1.15, (6, 7), 0.10),  # less so in deep networks
    ],
)
def test_cost_follows_the_law(alpha: float, beta: float, gamma: float, phis: tuple, tolerance: float) -> None:
    base = measured()
    assert base == pytest.approx(0.39, abs=0.01), "B0's published 0.39 G multiply-adds"
    for phi in phis:
        grown = measured(phi=phi, alpha=alpha, beta=beta, gamma=gamma) / base
        assert grown == pytest.approx((alpha * beta**2 * gamma**2) ** phi, rel=tolerance)


def test_expected_input_reaches_the_factory() -> None:
    config = ModelConfig(name="efficientnet_scaled", weights="none", args={"phi": 1, "base_resolution": 64})
    seen = preprocessing.expected_input(config)
    assert (seen.image_size, seen.interpolation) == (72, "bicubic")


def test_a_small_base_runs_and_is_planned() -> None:
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_scaled", num_classes=5, phi=1, **SMALL).eval()
    side = model.pretrained_cfg["input_size"][-1]
    assert side == 36
    with torch.no_grad():
        assert model(torch.randn(2, 3, side, side)).shape == (2, 5)
    assert len({parameter.depth for parameter in plan.list_parameters(model)}) == 1 + 1 + 7, "head, stem, seven stages"


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "base_depth", "base_width", "base_resolution"])
def test_impossible_factors_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}=0: must be above 0"):
        timm.create_model("efficientnet_scaled", **{name: 0})


def test_weights_can_be_put_back() -> None:
    """As a run's checkpoint is: the overlay that carries the tensors joins the one that carries the resolution."""
    model = timm.create_model("efficientnet_scaled", num_classes=3, phi=1, **SMALL)
    overlay = {"state_dict": model.state_dict(), "num_classes": 3, "source": ""}
    again = timm.create_model(
        "efficientnet_scaled", pretrained=True, num_classes=3, phi=1, pretrained_cfg_overlay=overlay, **SMALL
    )
    assert torch.equal(again.classifier.weight, model.classifier.weight)
    assert again.pretrained_cfg["input_size"] == (3, 36, 36)
