"""Residual blocks: the five orders of operations, both shortcuts, initialisation."""

from __future__ import annotations

import math
import operator

import pytest
import timm
import torch
from torch import nn

from headstart.models import architectures, tracing  # noqa: F401
from headstart.models.architectures.residual import ORDERS, Subsample
from headstart.models.outline import without_values

N, R, C = "BatchNorm2d", "ReLU", "Conv2d"
ADDED = {  # what the shortcut path passes in a block that keeps the shape (He et al. 2016, Fig. 4)
    "original": ["add", R],
    "bn_after_add": ["add", N, R],
    "relu_before_add": ["add"],
    "relu_only_preact": ["add"],
    "full_preact": ["add"],
}
BRANCH = {
    "original": [C, N, R, C, N],
    "bn_after_add": [C, N, R, C],
    "relu_before_add": [C, N, R, C, N, R],
    "relu_only_preact": [R, C, N, R, C, N],
    "full_preact": [N, R, C, N, R, C],
}


def outline(name: str, **options: object) -> nn.Module:
    with without_values():
        return timm.create_model(name, **options)


def path(block: nn.Module, side: int) -> list[str]:
    """The operations from a block's output back to its input, by `side` 0 (branch) or 1 (shortcut) at the addition,
    in the order of computation."""
    traced = tracing.trace(block)
    layers = dict(traced.named_modules())
    node, names = next(iter(reversed(traced.graph.nodes))).args[0], []
    while node.op != "placeholder":
        added = node.target is operator.add
        names.append("add" if added else type(layers.get(str(node.target))).__name__)
        node = node.args[side if added else 0]
    return [name for name in reversed(names) if name != "Identity"]


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_operations(order: str) -> None:
    model = outline("resnet20_cifar", order=order)
    block = model.stages[1][1]
    assert path(block, side=1) == ADDED[order]
    assert path(block, side=0) == BRANCH[order] + ADDED[order]


@pytest.mark.parametrize("order", ["relu_only_preact", "full_preact"])
def test_pre_activation_at_the_ends(order: str) -> None:
    model = outline("resnet20_cifar", order=order)
    lead = BRANCH[order][: BRANCH[order].index(C)]
    assert path(model.stem, 0) == [C, N, R]
    assert path(model.stages[0][0], 0) == [*BRANCH[order][len(lead) :], "add"], "the stem's activation is its own"
    assert path(model.final, 0) == lead
    projecting = outline("resnet20_cifar", order=order, shortcut="B").stages[1][0]
    ended = [N] if BRANCH[order][-1] == N else []
    assert path(projecting, 1) == [*lead, C, *ended, "add"], "a projection starts from the activation"
    assert path(projecting, 0) == [*BRANCH[order], "add"]


@pytest.mark.parametrize("order", ["original", "bn_after_add", "relu_before_add"])
def test_post_activation_has_none_at_the_end(order: str) -> None:
    model = outline("resnet20_cifar", order=order)
    assert path(model.final, 0) == []
    assert path(model.stages[0][0], 0) == BRANCH[order] + ADDED[order]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [20, 164])
def test_clean_identity_path(depth: int, order: str) -> None:
    """With its branches at zero, a stage hands its input on untouched only if nothing stands on the shortcut path."""
    model = outline(f"resnet{depth}_cifar", order=order)
    stage = model.stages[0][1:3].to_empty(device="cpu").eval()
    width = model.feature_info[0]["num_chs"]
    for module in stage.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.randn(2, width, 8, 8)
    assert torch.equal(stage(x), x) == (order not in ("original", "bn_after_add"))


def test_identity_through_every_stage() -> None:
    model = timm.create_model("resnet20_cifar", order="full_preact").eval()
    for name, module in model.stages.named_modules():
        if "branch" in name and isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.randn(2, 16, 8, 8)
    passed = model.stages(x)
    assert torch.equal(passed[:, :16], x[:, :, ::4, ::4])
    assert not passed[:, 16:].any(), "option A adds channels of zeros"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_blocks_leave_their_input_alone_and_learn(order: str, shortcut: str) -> None:
    model = timm.create_model("resnet20_cifar", order=order, shortcut=shortcut, num_classes=4)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for stage in model.stages:
        for block in stage:
            block.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0], inputs[0].detach().clone())))
    logits = model(torch.randn(3, 3, 16, 16))
    assert [torch.equal(x, before) for x, before in seen] == [True] * 9
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_plain_networks_have_no_shortcut() -> None:
    graph = tracing.trace(outline("plain20_cifar")).graph
    assert not any(node.target is operator.add for node in graph.nodes)
    assert path(outline("plain20_cifar").stages[1][0], 0) == [C, N, R, C, N, R]


def test_subsample() -> None:
    x = torch.randn(2, 3, 7, 8)
    y = Subsample(2, 5)(x)
    assert y.shape == (2, 8, 4, 4)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert not y[:, 3:].any()


def test_initialisation_is_he() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet20_cifar", shortcut="B")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            expected = math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2))
            # the sample deviation of k normal numbers strays by 1/√(2k)
            assert module.weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * module.weight.numel()))
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), "no zero gamma"
    assert not model.head.bias.any()
