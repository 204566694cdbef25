"""Plain and residual CIFAR networks: published sizes, timm's interface, halves that make the whole."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import ModelConfig, PhaseConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, fold, split  # noqa: F401
from headstart.models.architectures.residual import ORDERS
from headstart.models.outline import without_values
from headstart.strategy import plan

PUBLISHED = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 164: 1.7}  # M (He et al. 2015, Table 6; 2016)
COUNTED = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 164: 1_704_154}


@cache
def outline(name: str, **options: object) -> nn.Module:
    with without_values():
        return timm.create_model(name, **options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_are_the_published(depth: int) -> None:
    model = outline(f"resnet{depth}_cifar")
    assert count(model) == COUNTED[depth]
    assert float(f"{count(model) / 1e6:.2g}") == PUBLISHED[depth]
    weighted = [
        m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(weighted) == depth
    if depth != 164:
        assert count(outline(f"plain{depth}_cifar")) == COUNTED[depth], "shortcut A has no parameters"


def test_parameters_of_variants() -> None:
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert count(outline("resnet20_cifar", shortcut="B")) == COUNTED[20] + projections
    assert count(outline("resnet164_cifar", order="full_preact")) == 1_703_258
    for order in ORDERS:
        assert count(outline("resnet110_cifar", order=order)) == COUNTED[110], order
    wide = outline("resnet20_cifar", width=2)
    assert [info["num_chs"] for info in wide.feature_info] == [32, 64, 128]
    assert 3.9 < count(wide) / COUNTED[20] < 4


@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar", "resnet164_cifar"])
@pytest.mark.parametrize("side", [28, 32, 48, 64])
def test_sizes(name: str, side: int) -> None:
    model = outline(name, num_classes=3, in_chans=1)
    x = torch.zeros(2, 1, side, side, device="meta")
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, -(-side // 4), -(-side // 4))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
    assert model(x).shape == (2, 3)


@pytest.mark.parametrize("order", ["original", "full_preact"])
def test_interface(order: str) -> None:
    model = timm.create_model("resnet20_cifar", order=order)
    assert model.num_classes == 10
    cfg = model.pretrained_cfg
    assert (cfg["input_size"], cfg["crop_pct"], cfg["interpolation"]) == ((3, 32, 32), 1.0, "bicubic")
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()
    assert isinstance(model.get_submodule(cfg["first_conv"]), nn.Conv2d)
    parameters = plan.list_parameters(model)
    assert {p.depth for p in parameters} == {0, 1, 2, 3, 4}
    assert {p.depth for p in parameters if p.name.startswith("final")} <= {1}
    assert {p.depth for p in parameters if p.name.startswith("stem")} == {4}
    fine = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    assert len(set(fine.values())) == 1 + 9 + 1
    model.reset_classifier(7)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    model.reset_classifier(0)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 64)
    pyramid = timm.create_model("resnet20_cifar", order=order, features_only=True)
    assert [tuple(f.shape[1:]) for f in pyramid(torch.zeros(1, 3, 32, 32))] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet20_cifar", {"order": order}) for order in ORDERS]
    + [("resnet20_cifar", {"shortcut": "B"}), ("plain20_cifar", {}), ("resnet20_cifar", {"drop_rate": 0.3})],
)
def test_halves_make_the_whole(name: str, options: dict) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=4, **options).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for rules in ({"head": 1, "backbone": None}, {"depth0-1": 1, "all": None}, {"depth0-2": 1, "all": None}):
            learns = plan.plan_phases(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0].trainable
            found = split.split_network(model, learns, x)
            assert found is not None, rules
            rest = {id(p) for p in found.rest.parameters()}
            assert {key for key, p in model.named_parameters() if id(p) in rest} == learns, "cut at the stage boundary"
            folded = fold.fold_batch_norms(found.prefix.eval())
            assert torch.allclose(found.rest.eval()(folded(x)), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet20_cifar", {"order": "fancy"}, "full_preact"),
        ("resnet20_cifar", {"shortcut": "C"}, "A, B, none"),
        ("resnet20_cifar", {"width": 0}, "width=0"),
        ("plain20_cifar", {"order": "full_preact"}, "order=original"),
        ("plain20_cifar", {"survival": 0.5}, "survival=1"),
        ("plain20_cifar", {"shortcut": "A"}, "shortcut"),
    ],
)
def test_impossible_arguments_are_refused(name: str, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        factory.build_outline(ModelConfig(name=name, weights="none", args=options))
