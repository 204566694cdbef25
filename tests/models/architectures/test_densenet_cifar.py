"""DenseNets for CIFAR: the paper's parameter counts, dense connectivity, and timm's interface."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

from headstart.models import architectures, fold, split  # noqa: F401
from headstart.models.architectures.densenet_cifar import DenseLayer, DenseNetCifar
from headstart.models.outline import without_values


def small(**options: float) -> DenseNetCifar:
    torch.manual_seed(0)
    return timm.create_model("densenet_bc_100_12", depth=16, growth=4, num_classes=5, **options).eval()


@pytest.mark.parametrize(
    ("name", "options", "printed", "exact"),
    [  # millions as printed in Table 2 of Huang et al. 2017; the CIFAR-10 networks
        ("densenet_cifar", {}, 1.0, 1_019_722),
        ("densenet_cifar", {"depth": 100}, 7.0, None),
        ("densenet_cifar", {"depth": 100, "growth": 24}, 27.2, None),
        ("densenet_bc_100_12", {}, 0.8, 769_162),
        ("densenet_bc_100_12", {"depth": 250, "growth": 24}, 15.3, None),
        ("densenet_bc_100_12", {"depth": 190, "growth": 40}, 25.6, None),
    ],
)
def test_parameters_are_the_papers(name: str, options: dict, printed: float, exact: int | None) -> None:
    with without_values():
        model = timm.create_model(name, num_classes=10, **options)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 1) == printed
    assert exact is None or count == exact


@pytest.mark.parametrize(("bottleneck", "compression"), [(False, 1.0), (True, 0.5), (False, 0.5), (True, 1.0)])
def test_each_layer_sees_all_earlier_maps_of_its_block(bottleneck: bool, compression: float) -> None:
    depth, growth = 40, 6
    with without_values():
        model = timm.create_model(
            "densenet_cifar", depth=depth, growth=growth, bottleneck=bottleneck, compression=compression
        )
    chs = 2 * growth if bottleneck and compression < 1 else 16
    assert model.stem.out_channels == chs
    for index, stage in enumerate(model.stages):
        layers = [part for part in stage if isinstance(part, DenseLayer)]
        assert len(layers) == (depth - 4) // (6 if bottleneck else 3)
        if index:
            (conv,) = [part for part in stage[0] if isinstance(part, nn.Conv2d)]
            assert (conv.in_channels, conv.out_channels) == (chs, int(chs * compression))
            chs = conv.out_channels
        for at, layer in enumerate(layers):
            convs = [part for part in layer.body if isinstance(part, nn.Conv2d)]
            seen = chs + at * growth
            widths = [(conv.in_channels, conv.out_channels) for conv in convs]
            assert widths == ([(seen, 4 * growth), (4 * growth, growth)] if bottleneck else [(seen, growth)])
        chs += len(layers) * growth
    assert model.num_features == chs
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth, "L counts the layers with weights, transitions included"


def test_a_layer_passes_on_what_it_saw() -> None:
    layer = small().stages[0][0]
    x = torch.randn(2, 8, 6, 6)
    out = layer(x)
    assert out.shape == (2, 12, 6, 6)
    assert torch.equal(out[:, :8], x)


@pytest.mark.parametrize("side", [28, 32, 48, 64])
def test_sizes_and_feature_info(side: int) -> None:
    model = small()
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        features = model.forward_features(x)
        assert features.shape == (2, model.num_features, side // 4, side // 4)
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, model.num_features)
        assert torch.equal(model(x), model.get_classifier()(pooled))
        for info in model.feature_info:
            x_in = {}
            hook = model.get_submodule(info["module"]).register_forward_hook(lambda m, i, o, at=x_in: at.update(out=o))
            model(x)
            hook.remove()
            assert x_in["out"].shape[1:] == (info["num_chs"], side // info["reduction"], side // info["reduction"])


@pytest.mark.parametrize("coarse", [False, True])
def test_every_parameter_has_a_group(coarse: bool) -> None:
    model = small()
    groups = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
    names = [name for name, _ in model.named_parameters()]
    assert set(groups) == set(names)
    order = [groups[name] for name in names]
    assert order == sorted(order)
    body = {groups[name] for name in names if not name.startswith("classifier")}
    assert len(body) == (4 if coarse else 1 + 3 * 2 + 2), (
        "stem, 3 blocks (or their parts); the last norm joins its block"
    )


def test_reset_classifier() -> None:
    model = small()
    model.reset_classifier(7)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    model.reset_classifier(0)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, model.num_features)


def test_dropout_follows_every_convolution_but_the_first() -> None:
    model = small(drop_rate=0.2)
    dropped = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    assert len(dropped) == sum(isinstance(m, nn.Conv2d) for m in model.modules()) - 1
    assert {m.p for m in dropped} == {0.2}
    assert not getattr(model, "drop_rate", 0.0), "timm's drop_rate would be dropout before the classifier"
    assert not any(isinstance(m, nn.Dropout) for m in small().modules())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_can_be_cut_inside_and_folded() -> None:
    model = small()
    x = torch.randn(2, 3, 32, 32)
    learns = frozenset(n for n, _ in model.named_parameters() if n.startswith(("stages.2", "norm", "classifier")))
    found = split.split_network(model, learns, x)
    assert found is not None
    frozen = {name for name, p in model.named_parameters() if any(p is q for q in found.prefix.parameters())}
    assert frozen == {name for name, _ in model.named_parameters()} - learns
    with torch.no_grad():
        assert torch.allclose(fold.fold_batch_norms(model)(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"depth": 41}, {"depth": 4}, {"depth": 19, "bottleneck": True}, {"compression": 0}, {"growth": 0}]
)
def test_impossible_forms_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        timm.create_model("densenet_cifar", **options)


def test_expected_input_is_cifars() -> None:
    cfg = small(in_chans=1).pretrained_cfg
    assert cfg["input_size"] == (3, 32, 32)
    assert (cfg["crop_pct"], cfg["interpolation"]) == (1.0, "bicubic")
    assert cfg["first_conv"] == "stem"
    assert small(in_chans=1)(torch.zeros(1, 1, 32, 32)).shape == (1, 5)
