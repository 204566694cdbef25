"""Which layers are in training mode while a part of a network learns."""

from __future__ import annotations

import timm
from torch import nn

from headstart.config.schema import PhaseConfig
from headstart.models.modes import train_mode
from headstart.strategy import plan


def test_train_mode_leaves_frozen_parts_in_eval() -> None:
    model = timm.create_model("resnet18", num_classes=5)
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates={"depth0-1": 1, "all": None}, epochs=1)})[0]
    plan.freeze(model, phase)
    train_mode(model)
    assert model.layer4.training
    assert model.layer4[0].bn1.training
    assert model.fc.training
    assert not any(part.training for part in model.layer3.modules())
    assert not model.bn1.training


def test_train_mode_keeps_learning_norms_learning() -> None:
    model = timm.create_model("resnet18", num_classes=5)
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates={"norm": 1, "head": 1, "all": None}, epochs=1)})[0]
    plan.freeze(model, phase)
    train_mode(model)
    assert model.layer1[0].bn1.training
    assert not model.layer1[0].conv1.training


def test_frozen_statistics_leave_batch_norms_in_eval_while_their_weights_learn() -> None:
    model = timm.create_model("resnet18", num_classes=5)
    train_mode(model, "frozen")
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert model.layer1[0].conv1.training
    assert all(p.requires_grad for norm in norms for p in norm.parameters())
