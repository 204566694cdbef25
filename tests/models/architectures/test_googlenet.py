"""GoogLeNet against Table 1 of its paper, and against torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, preprocessing, split  # noqa: F401
from headstart.models.modes import train_mode
from headstart.models.outline import without_values
from headstart.strategy import plan
from models.networks import trainable

# Row of Table 1: output, then weights in units of 1024 and millions of multiply-adds, each as printed and as the
# columns give it. Where the two differ by more than their rounding, the columns are what is built.
ROWS = {
    "conv1": ((64, 112, 112), 2.7, 9.2, 34, 118),
    "pool1": ((64, 56, 56), 0, 0, 0, 0),
    "conv2": ((192, 56, 56), 112, 112.0, 360, 360),
    "pool2": ((192, 28, 28), 0, 0, 0, 0),
    "inception3a": ((256, 28, 28), 159, 159.5, 128, 128),
    "inception3b": ((480, 28, 28), 380, 379.0, 304, 304),
    "pool3": ((480, 14, 14), 0, 0, 0, 0),
    "inception4a": ((512, 14, 14), 364, 366.8, 73, 74),
    "inception4b": ((512, 14, 14), 437, 438.0, 88, 88),
    "inception4c": ((512, 14, 14), 463, 497.5, 100, 100),
    "inception4d": ((528, 14, 14), 580, 590.5, 119, 119),
    "inception4e": ((832, 14, 14), 840, 847.0, 170, 170),
    "pool4": ((832, 7, 7), 0, 0, 0, 0),
    "inception5a": ((832, 7, 7), 1072, 1018.0, 54, 51),
    "inception5b": ((1024, 7, 7), 1388, 1409.0, 71, 71),
    "global_pool": ((1024,), 0, 0, 0, 0),
    "fc": ((1000,), 1000, 1000.0, 1, 1),
}
PRINTED_OTHERWISE = {"conv1", "inception4c", "inception4d", "inception5a", "inception5b"}


def meta(**options: Any) -> Any:
    with without_values():
        return timm.create_model("googlenet", **options)


def measured(model: nn.Module) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Output, weights (biases left out) and multiply-adds of each child of the network, on one image of 224 pixels."""
    found: dict[str, list] = {name: [(), 0, 0] for name, _ in model.named_children()}

    def count(name: str, layer: Any, output: torch.Tensor) -> None:
        found[name][1] += layer.weight.numel()
        found[name][2] += layer.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    for name, child in model.named_children():
        child.register_forward_hook(lambda m, x, y, name=name: found[name].__setitem__(0, tuple(y.shape[1:])))
        for layer in child.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(lambda m, x, y, name=name: count(name, m, y))
    model.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    return {name: tuple(values) for name, values in found.items()}


def test_each_row_of_table_1() -> None:
    rows = measured(meta(aux=False))
    for name, (output, printed, weights, printed_ops, ops) in ROWS.items():
        assert rows[name][0] == output, name
        assert rows[name][1] / 1024 == pytest.approx(weights, abs=0.06), name
        assert rows[name][2] / 1e6 == pytest.approx(ops, abs=0.6), name
        near = weights == pytest.approx(printed, rel=0.01) and ops == pytest.approx(printed_ops, rel=0.02)
        assert near == (name not in PRINTED_OTHERWISE), name


@pytest.mark.parametrize(
    ("kernel", "aux", "parameters"),
    [(5, False, 6_998_552), (5, True, 13_378_280), (3, False, 6_624_904), (3, True, 13_004_888)],
)
def test_parameters(kernel: int, aux: bool, parameters: int) -> None:
    """torchvision's has 6,624,904, and 13,004,888 with its auxiliary classifiers."""
    assert sum(p.numel() for p in meta(kernel=kernel, aux=aux).parameters()) == parameters


def test_auxiliary_classifiers_look_at_4a_and_4d() -> None:
    """Section 5: 4x4x512 and 4x4x528, 128 filters, 1024 units, 70 % dropout."""
    model = meta()
    for side, inputs in ((model.aux1, 512), (model.aux2, 528)):
        assert side.conv.conv.weight.shape == (128, inputs, 1, 1)
        assert side.fc1.weight.shape == (1024, 4 * 4 * 128)
        assert side.fc2.weight.shape == (1000, 1024)
        assert side.drop.p == 0.7
    depths = {parameter.name: parameter.depth for parameter in plan.list_parameters(model)}
    assert (
        depths["aux1.fc2.weight"] == depths["aux2.fc2.weight"] == depths["inception4a.branches.pool.1.conv.weight"] == 2
    )
    assert set(depths.values()) == set(range(6)), "the head, three stages of modules, conv2, the stem"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """torchvision's network in the form that it publishes, with random weights, and the file of them."""
    torch.manual_seed(0)
    source = torchvision.models.googlenet(init_weights=False, transform_input=True, num_classes=7).eval()
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("googlenet") / "w.pth"
    torch.save(source.state_dict(), path)
    return source, path


@pytest.mark.parametrize("aux", [True, False])
def test_torchvisions_weights_give_torchvisions_logits(aux: bool, published: tuple[nn.Module, Path]) -> None:
    source, path = published
    config = ModelConfig("googlenet", str(path), {"kernel": 3, "aux": aux})
    model, _ = factory.create(config, ("a", "b", "c"), pretrained=True)
    assert len(model.auxiliaries) == 2 * aux
    assert all(side.fc2.out_features == 3 for side in model.auxiliaries)
    model.fc = source.fc
    seen = preprocessing.expected_input(config)
    pixels = torch.rand(2, 3, 96, 96)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    own_mean, own_std = (torch.tensor(values)[:, None, None] for values in (seen.mean, seen.std))
    with torch.no_grad():
        expected, found = source((pixels - mean) / std), model.eval()((pixels - own_mean) / own_std)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_auxiliary_weights_are_loaded_too(published: tuple[nn.Module, Path]) -> None:
    source, path = published
    model, _ = factory.create(ModelConfig("googlenet", str(path), {"kernel": 3}), ("a",), pretrained=True)
    assert torch.equal(model.aux2.fc1.weight, source.aux2.fc1.weight)
    assert torch.equal(model.aux1.conv.bn.weight, source.aux1.conv.bn.weight)


def test_the_papers_form_has_no_published_weights(published: tuple[nn.Module, Path]) -> None:
    assert meta(kernel=3).pretrained_cfg["url"] == "https://download.pytorch.org/models/googlenet-1378be20.pth"
    for args in ({}, {"kernel": 3, "width": 0.5}, {"kernel": 3, "branches": "1x1"}, {"kernel": 3, "norm": False}):
        assert not meta(**args).pretrained_cfg["url"]
        with pytest.raises(UserError, match="no published weights of googlenet"):
            factory.create(ModelConfig("googlenet", "imagenet", args), ("a", "b"), pretrained=True)
    with pytest.raises(UserError, match=r"does not fit model\.name=googlenet"):
        factory.create(ModelConfig("googlenet", str(published[1])), ("a", "b"), pretrained=True)


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model("googlenet", num_classes=5, width=1 / 16, **options)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("branches", ["1x1", "3x3", "5x5", "pool", "1x1,3x3,5x5,pool"])
def test_small_images_and_single_branches(branches: str, side: int) -> None:
    model = small(branches=branches, norm=True).train()
    assert model(torch.rand(2, 3, side, side)).shape == (2, 5)
    assert all(part.logits.shape == (2, 5) for part in model.auxiliaries)


def test_what_it_cannot_be_is_named() -> None:
    for args, words in (({"kernel": 7}, "kernel=7"), ({"branches": "7x7"}, "branches='7x7'")):
        with pytest.raises(UserError, match=words):
            factory.build_outline(ModelConfig("googlenet", "none", args))


def test_the_uniform_interface() -> None:
    model = small().eval()
    x = torch.rand(2, 3, 64, 64)
    features = model.forward_features(x)
    assert features.shape[1] == model.num_features
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    assert model.aux1.classify(torch.rand(2, model.inception4a.outputs, 4, 4)).shape == (2, 3)
    for module in (part["module"] for part in model.feature_info):
        model.get_submodule(module)


@pytest.mark.parametrize(
    ("learning", "auxiliaries"),
    [
        ("fc", [False, False]),
        ("fc|inception5b", [False, False]),
        ("fc|inception5|inception4[de]|aux2", [False, True]),
        ("fc|inception[45]|inception3b|aux", [True, True]),
    ],
)
def test_halves_make_the_whole_and_keep_its_auxiliary_loss(learning: str, auxiliaries: list[bool]) -> None:
    """What lies behind the cut trains as in the whole network: the auxiliary classifiers that learn add their loss."""
    model = small(drop_rate=0.0).eval()
    for side in model.auxiliaries:
        side.drop.p = 0.0
    x, labels = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    rules = {f"name:^({learning})": 1, "all": None}
    learns = trainable(model, rules)
    phase = plan.plan_phases(model, {"p": _phase(rules)})[0]
    found = split.split_network(model, learns, x)
    assert found is not None
    plan.freeze(model, phase)

    losses = []
    for network, seen in ((model, x), (found.rest, found.prefix.eval()(x).detach())):
        train_mode(network)
        model.zero_grad()
        loss = functional.cross_entropy(network(seen), labels)
        for part in network.modules():
            if hasattr(part, "auxiliary_loss"):
                loss = loss + part.auxiliary_loss(functional.cross_entropy, labels)
        loss.backward()
        losses.append(loss.item())
        assert {name for name, p in model.named_parameters() if p.grad is not None} == learns
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert [side.training for side in model.auxiliaries] == auxiliaries


def _phase(rules: dict) -> Any:
    from headstart.config.schema import PhaseConfig

    return PhaseConfig(rates=rules, epochs=1)
