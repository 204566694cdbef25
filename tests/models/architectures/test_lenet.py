"""LeNet-5, layer by layer, against the paper's section II.B."""

from __future__ import annotations

import pytest
import timm
import torch

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import factory, split
from headstart.models.architectures import lenet
from models.networks import RULES, trainable

# layer: maps and their side, parameters in the paper, in the modern form (which is full where the paper has a table)
LAYERS = {
    "c1": (6, 28, 156, 156),
    "s2": (6, 14, 12, 0),
    "c3": (16, 10, 1516, 2416),
    "s4": (16, 5, 32, 0),
    "c5": (120, 1, 48120, 48120),
    "f6": (84, None, 10164, 10164),
    "fc": (10, None, 850, 850),
}


@pytest.mark.parametrize(("variant", "column", "total"), [("original", 2, 60850), ("modern", 3, 61706)])
def test_layers_have_the_papers_shapes_and_parameters(variant: str, column: int, total: int) -> None:
    model = timm.create_model("lenet5", variant=variant, in_chans=1)
    shapes = {}
    for name in LAYERS:
        model.get_submodule(name).register_forward_hook(lambda m, x, y, name=name: shapes.update({name: y.shape[1:]}))
    model.eval()(torch.zeros(1, 1, 32, 32))
    for name, row in LAYERS.items():
        maps, side = row[:2]
        assert shapes[name] == ((maps,) if side is None else (maps, side, side))
        assert sum(p.numel() for p in model.get_submodule(name).parameters()) == row[column], name
    assert sum(p.numel() for p in model.parameters()) == total
    coloured = timm.create_model("lenet5", variant=variant)
    assert sum(p.numel() for p in coloured.parameters()) == total + 2 * 150


def test_c3_sees_what_table_1_says() -> None:
    """The paper's Table I, as printed: a row per map of S2, an X per map of C3 that sees it."""
    printed = """
        X . . . X X X . . X X X X . X X
        X X . . . X X X . . X X X X . X
        X X X . . . X X X . . X . X X X
        . X X X . . X X X X . . X . X X
        . . X X X . . X X X X . X X . X
        . . . X X X . . X X X X . X X X
    """
    layer = lenet.TableConv2d()
    torch.nn.init.zeros_(layer.bias)
    seen = []
    for map_ in range(6):
        x = torch.zeros(1, 6, 5, 5)
        x[0, map_] = torch.rand(5, 5)
        seen.append(["X" if value else "." for value in layer(x).flatten().tolist()])
    assert seen == [line.split() for line in printed.strip().splitlines()]


def test_the_squashing_function_keeps_plus_and_minus_one() -> None:
    assert torch.allclose(lenet.Squash()(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([-1.0, 0.0, 1.0]), atol=1e-4)


def test_subsampling_scales_and_shifts_each_channel() -> None:
    layer = lenet.Subsample(2)
    with torch.no_grad():
        layer.weight[1], layer.bias[1] = 2, 3
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert layer(x).flatten().tolist() == [1.5, 2 * 5.5 + 3]


@pytest.mark.parametrize(("padding", "side"), [(0, 32), (0, 64), (2, 28), (2, 32)])
def test_sizes_that_it_sees(padding: int, side: int) -> None:
    model = timm.create_model("lenet5", padding=padding)
    assert model(torch.rand(2, 3, side, side)).shape == (2, 10)
    assert model.pretrained_cfg["input_size"] == (3, 32 - 2 * padding, 32 - 2 * padding)


def test_what_it_cannot_see_or_be_is_named() -> None:
    with pytest.raises(UserError, match=r"try data\.image_size=32"):
        factory.check_size(timm.create_model("lenet5"), "lenet5", 28, 32)
    with pytest.raises(UserError, match="original or modern"):
        factory.build_outline(ModelConfig("lenet5", "none", {"variant": "antique"}))


@pytest.mark.parametrize("variant", ["original", "modern"])
def test_the_uniform_interface(variant: str) -> None:
    model = timm.create_model("lenet5", variant=variant, num_classes=7).eval()
    x = torch.rand(2, 3, 32, 32)
    features = model.forward_features(x)
    assert features.shape[1] == model.num_features
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    for rules in RULES:
        found = split.split_network(model, trainable(model, rules), x)
        assert found is not None
        assert torch.allclose(found.rest(found.prefix(x)), model(x), atol=1e-5)
    groups = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    assert max(groups.values()) == (6 if variant == "original" else 4), "every layer with weights is a group"
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
