"""NASNet-A (4 @ 1056): the published counts to the digit, Figure 4's wiring, and timm's interface."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional

from headstart.models import architectures, fold, split  # noqa: F401
from headstart.models.architectures.nasnet_cell import Cell, FactorizedReduction
from headstart.models.architectures.nasnet_mobile import NASNet
from headstart.models.cost import count_gmacs
from headstart.models.outline import without_values

SMALL = {"repeats": 1, "penultimate": 96, "stem_chs": 8, "num_classes": 5}


def small(**options: float) -> NASNet:
    torch.manual_seed(0)
    return timm.create_model("nasnet_mobile", **(SMALL | options)).eval()


def kernels(step: nn.Module) -> list[int]:
    """Kernel sizes of a separable convolution's depthwise parts."""
    return [conv.kernel_size[0] for conv in step.modules() if isinstance(conv, nn.Conv2d) and conv.groups > 1]


def average(x: Tensor, stride: int = 1) -> Tensor:
    return functional.avg_pool2d(x, 3, stride, 1, count_include_pad=False)


def test_size_and_cost_are_the_published() -> None:
    with without_values():
        model = timm.create_model("nasnet_mobile")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    statistics = sum(b.numel() for name, b in model.named_buffers() if "running" in name)
    assert parameters == 5_289_978
    assert parameters + statistics == 5_326_716, "as Keras counts"
    assert round(count_gmacs(model, 224) * 1e3) == 564, "Table 3: 564 M multiply-adds"
    assert [len(stage) for stage in model.stages] == [4, 5, 5]
    assert model.forward_features(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 1056, 7, 7)


def test_normal_cell_is_figure_4s() -> None:
    torch.manual_seed(0)
    cell = Cell(10, 6, 4).eval()
    x, before = torch.randn(2, 10, 9, 9), torch.randn(2, 6, 9, 9)
    h, p, s = cell.current(x), cell.previous(before), cell.steps
    sums = [s[0](h) + s[1](p), s[2](p) + s[3](p), average(h) + p, 2 * average(p), s[8](h) + h]
    assert torch.allclose(cell(x, before), torch.cat([p, *sums], dim=1), atol=1e-5)
    assert [kernels(step) for step in s] == [[5, 5], [3, 3], [5, 5], [3, 3], [], [], [], [], [3, 3], []]


def pad_as_keras(x: Tensor, kernel: int) -> Tensor:
    """Zeros as Keras' `correct_pad` puts them before a stride of 2, written from its formula."""
    most = kernel // 2
    top, left = (most - (1 - side % 2) for side in x.shape[-2:])
    return functional.pad(x, (left, most, top, most))


def separate(x: Tensor, step: nn.Sequential, kernel: int, same: bool) -> Tensor:
    """A separable convolution with a stride of 2 whose first padding is done by hand."""
    first = step[1]
    x = step[0](x)
    x = pad_as_keras(x, kernel) if same else functional.pad(x, (kernel // 2,) * 4)
    x = functional.conv2d(x, first.weight, None, 2, 0, groups=first.groups)
    return step[2:](x)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("pad_type", ["", "same"])
def test_reduction_cell_is_figure_4s(pad_type: str, side: int) -> None:
    torch.manual_seed(0)
    cell = Cell(10, 6, 4, reduce=True, pad_type=pad_type).eval()
    x, before = torch.randn(2, 10, side, side), torch.randn(2, 6, side, side)
    same = pad_type == "same"
    h, p, s = cell.current(x), cell.previous(before), cell.steps
    if same:
        highest = functional.max_pool2d(pad_as_keras(h, 3), 3, 2)
        mean = functional.avg_pool2d(pad_as_keras(h, 3), 3, 2)
    else:
        highest, mean = functional.max_pool2d(h, 3, 2, 1), average(h, 2)
    first = separate(h, s[0], 5, same) + separate(p, s[1], 7, same)
    second, third = highest + separate(p, s[3], 7, same), mean + separate(p, s[5], 5, same)
    joined = [second, third, second + average(first), s[8](first) + highest]
    out = cell(x, before)
    half = (side + 1) // 2
    assert out.shape == (2, 16, half, half)
    assert torch.allclose(out, torch.cat(joined, dim=1), atol=1e-5)
    assert [kernels(step) for step in s] == [[5, 5], [7, 7], [], [7, 7], [], [5, 5], [], [], [3, 3], []]


def test_padding_is_keras_by_default_and_the_weights_have_the_same_names() -> None:
    keras, symmetric = small(), small(pad_type="")
    symmetric.load_state_dict(keras.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(keras(x), symmetric(x))
    with pytest.raises(ValueError, match="must be 'same'"):
        small(pad_type="valid")


@pytest.mark.parametrize("side", [6, 7])
def test_factorized_reduction_takes_every_second_pixel_and_its_diagonal_neighbour(side: int) -> None:
    layer = FactorizedReduction(1, 2).eval()
    for conv in (layer.even, layer.odd):
        nn.init.ones_(conv.weight)
    x = torch.rand(1, 1, side, side)
    out = layer(x) * (1 + 1e-3) ** 0.5  # undoes the fresh batch norm's epsilon
    half = (side + 1) // 2
    assert out.shape == (1, 2, half, half)
    assert torch.allclose(out[:, :1], x[:, :, ::2, ::2])
    diagonal = x[:, :, 1::2, 1::2]
    inside = diagonal.shape[-1]
    assert torch.allclose(out[:, 1:, :inside, :inside], diagonal)
    assert not out[:, 1:, inside:].any()


@pytest.mark.parametrize("side", [32, 64, 65, 96])
def test_sizes_and_feature_info(side: int) -> None:
    model = small()
    x, seen = torch.randn(2, 3, side, side), {}
    hooks = [
        model.get_submodule(info["module"]).register_forward_hook(lambda m, i, o, at=at: seen.update({at: o}))
        for at, info in enumerate(model.feature_info)
    ]
    with torch.no_grad():
        logits = model(x)
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        assert pooled.shape == (2, model.num_features)
        assert torch.allclose(model.get_classifier()(pooled), logits)
    for hook in hooks:
        hook.remove()
    stem = (side - 1) // 2  # the unpadded first convolution
    for at, info in enumerate(model.feature_info):
        expected = -(-stem * 2 // info["reduction"])
        assert seen[at].shape[1:] == (info["num_chs"], expected, expected)
    assert [info["reduction"] for info in model.feature_info] == [2, 4, 8, 16, 32]


@pytest.mark.parametrize("coarse", [False, True])
def test_every_parameter_has_a_group(coarse: bool) -> None:
    with without_values():
        model = timm.create_model("nasnet_mobile")
    groups = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
    body = [name for name, _ in model.named_parameters() if not name.startswith("classifier")]
    order = [groups[name] for name in body]
    assert order == sorted(order)
    assert len(set(order)) == (4 if coarse else 1 + 4 + 5 + 5)
    assert groups["classifier.weight"] > max(order)


def test_reset_classifier() -> None:
    model = small()
    model.reset_classifier(7)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 7)
    model.reset_classifier(0)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 96)


def test_dropout_only_before_the_classifier_and_only_in_training() -> None:
    model = small(drop_rate=0.5)
    pooled = torch.ones(2, 96, 2, 2)
    assert torch.equal(model.forward_head(pooled, pre_logits=True), torch.ones(2, 96))
    model.train()
    assert (model.forward_head(pooled, pre_logits=True) == 0).any()


def test_can_be_cut_and_folded() -> None:
    """A stage boundary has two live tensors, so only the stem's convolution can be a prefix inside the backbone."""
    model = small()
    x = torch.randn(2, 3, 64, 64)
    names = frozenset(name for name, _ in model.named_parameters())
    head = split.split_network(model, frozenset(name for name in names if name.startswith("classifier")), x)
    assert head is not None
    assert head.at == "head"
    inside = split.split_network(
        model, frozenset(name for name in names if name.startswith(("stages.2", "classifier"))), x
    )
    assert inside is not None
    assert inside.at.startswith("conv_stem")
    with torch.no_grad():
        whole = model(x)
        assert torch.allclose(fold.fold_batch_norms(model)(x), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("options", [{"penultimate": 1000}, {"penultimate": 120}, {"repeats": 0}])
def test_impossible_forms_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="multiple of 96"):
        small(**options)
