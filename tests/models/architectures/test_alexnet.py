"""AlexNet: five convolutions, three linear layers, torchvision's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import factory, split
from headstart.models.outline import without_values
from models.networks import RULES, trainable


def meta(**options: object) -> nn.Module:
    with without_values():
        return timm.create_model("alexnet", **options)


@pytest.mark.parametrize(("grouped", "parameters"), [(False, 61_100_840), (True, 60_965_224)])
def test_five_convolutions_and_three_linear_layers(grouped: bool, parameters: int) -> None:
    model = meta(grouped=grouped)
    layers = [type(part) for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert layers == [nn.Conv2d] * 5 + [nn.Linear] * 3
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_grouped_form_is_the_papers() -> None:
    """Section 3.5: kernels of 96x11x11x3, 256x5x5x48, 384x3x3x256, 384x3x3x192, 256x3x3x192."""
    model = meta(grouped=True)
    convs = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert [tuple(conv.weight.shape) for conv in convs] == [
        (96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3),
    ]  # fmt: skip
    assert model.conv1(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 96, 55, 55)
    assert model.forward_features(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 256, 6, 6)


def test_responses_are_normalised_as_section_3_3_has_it() -> None:
    layer = timm.create_model("alexnet", grouped=True, width=1 / 16).conv1[2]
    a = torch.rand(1, 6, 1, 1)
    window = sum(float(a[0, j]) ** 2 for j in range(6) if abs(j - 3) <= 2)
    assert float(layer(a)[0, 3]) == pytest.approx(float(a[0, 3]) / (2 + 1e-4 * window) ** 0.75, rel=1e-6)
    assert float(layer(1000 * a)[0, 3]) == pytest.approx(1000 * float(a[0, 3]) / (2 + 100 * window) ** 0.75, rel=1e-5)


@pytest.mark.parametrize("outputs", [1000, 7])
def test_torchvisions_weights_give_torchvisions_logits(outputs: int, tmp_path: Path) -> None:
    source = torchvision.models.alexnet(num_classes=outputs).eval()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    classes = tuple(map(str, range(outputs)))
    model, notes = factory.create(ModelConfig("alexnet", str(tmp_path / "w.pth")), classes, pretrained=True)
    assert notes == [f"head replaced: {outputs} outputs -> {outputs} new ones"]
    with torch.no_grad():
        for own, other in zip(model.fc8.parameters(), source.classifier[6].parameters(), strict=True):
            own.copy_(other)
        x = torch.randn(2, 3, 224, 224)
        assert torch.equal(model.eval()(x), source(x))


def test_a_missing_tensor_is_an_error(tmp_path: Path) -> None:
    with without_values():
        state = torchvision.models.alexnet().state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in state.items() if name != "features.8.bias"}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"does not fit model.name=alexnet.*conv4\.0\.bias"):
        factory.create(ModelConfig("alexnet", str(tmp_path / "w.pth")), ("a", "b"), pretrained=True)


def test_only_the_single_tower_has_published_weights() -> None:
    assert meta().pretrained_cfg["url"] == "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    assert not meta(grouped=True).pretrained_cfg["url"]
    assert not meta(width=0.5).pretrained_cfg["url"]
    with pytest.raises(UserError, match="no published weights of alexnet"):
        factory.create(ModelConfig("alexnet", "imagenet", {"grouped": True}), ("a", "b"), pretrained=True)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_uniform_interface(grouped: bool) -> None:
    model = timm.create_model("alexnet", grouped=grouped, num_classes=7, width=1 / 16).eval()
    x = torch.rand(2, 3, 64, 64)
    features = model.forward_features(x)
    assert features.shape[1] == model.num_features
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    learning = ({"fc8"}, {"fc8", "fc7", "fc6"}, {"fc8", "fc7", "fc6", "conv5", "conv4", "conv3"})
    for rules, layers in zip(RULES, learning, strict=True):
        learns = trainable(model, rules)
        found = split.split_network(model, learns, x)
        assert found is not None
        assert torch.allclose(found.rest.eval()(found.prefix.eval()(x)), model(x), atol=1e-5)
        assert {name.split(".")[0] for name in learns} == layers
    groups = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    assert sorted(set(groups.values())) == list(range(8))
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
