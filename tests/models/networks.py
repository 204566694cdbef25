"""Networks to be split and folded, and the rules of phases that freeze a part of them."""

from __future__ import annotations

import timm
import torch
from torch import nn

from headstart.config.schema import PhaseConfig
from headstart.strategy import plan

RULES = ({"head": 1, "backbone": None}, {"depth0-1": 1, "all": None}, {"depth0-2": 1, "all": None})
NARROWER: dict[str, dict[str, float]] = {"vgg11": {"mlp_ratio": 1 / 64}}  # its two hidden layers hold 119 of 129 M


def network(name: str, **options: float) -> nn.Module:
    """A network whose batch norms have statistics worth folding."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **NARROWER.get(name, {}), **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def trainable(model: nn.Module, rules: dict) -> frozenset[str]:
    """The names that learn under these rules."""
    return plan.plan_phases(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0].trainable
