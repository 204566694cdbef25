"""Shake-Shake: α forward, β backward, ½ in evaluation; published sizes; the two-path skip connection."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import ModelConfig, PhaseConfig
from headstart.errors import UserError
from headstart.models import architectures, factory, fold, split  # noqa: F401
from headstart.models.architectures.shake_shake import MODES, Mix, ShakeShake, ShiftedSkip
from headstart.models.modes import train_mode
from headstart.models.outline import without_values
from headstart.strategy import plan

PUBLISHED = {32: (2.9, 2_923_162), 64: (11.7, 11_653_978), 96: (26.2, 26_192_922)}  # M (Gastaldi 2017)


def shares(mix: ShakeShake, n: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(α, β, 1 − β) of each image, read off the output and the gradients."""
    a = torch.ones(n, 2, 3, 3, requires_grad=True)
    b = torch.zeros(n, 2, 3, 3, requires_grad=True)
    out = mix(a, b)
    out.sum().backward()
    assert (out.flatten(1) == out.flatten(1)[:, :1]).all(), "one share for all of an image"
    return out.detach()[:, 0, 0, 0], a.grad[:, 0, 0, 0], b.grad[:, 0, 0, 0]


@pytest.mark.parametrize("width", PUBLISHED)
def test_parameters_are_the_published(width: int) -> None:
    with without_values():
        model = timm.create_model(f"shake_shake_26_2x{width}d")
    published, counted = PUBLISHED[width]
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total == counted
    assert round(total / 1e6, 1) == published
    weighted = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([name for name in weighted if "shortcut" not in name and "branch2" not in name]) == 26
    assert [info["num_chs"] for info in model.feature_info] == [width, 2 * width, 4 * width]


@pytest.mark.parametrize(("width", "base"), [(0.25, 8), (0.5, 16), (2, 64), (0.01, 2)])
def test_width_multiplies_the_channels(width: float, base: int) -> None:
    with without_values():
        model = timm.create_model("shake_shake_26_2x32d", width=width).eval()
        assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    assert [info["num_chs"] for info in model.feature_info] == [base, 2 * base, 4 * base]


def test_forward_uses_alpha_and_backward_its_own_beta() -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(3, 2, 4, 4, requires_grad=True) for _ in range(2))
    alpha, beta = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1, 1), torch.tensor([0.7, 0.2, 0.0]).view(3, 1, 1, 1)
    upstream = torch.randn(3, 2, 4, 4)
    out = Mix.apply(a, b, alpha, beta)
    out.backward(upstream)
    assert torch.allclose(out, alpha * a + (1 - alpha) * b)
    assert torch.allclose(a.grad, beta * upstream)
    assert torch.allclose(b.grad, (1 - beta) * upstream)


@pytest.mark.parametrize("level", ["image", "batch"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_and_levels(mode: str, level: str) -> None:
    torch.manual_seed(0)
    alpha, beta, other = shares(ShakeShake(mode, level))
    draws = 8 if level == "image" else 1
    assert torch.allclose(beta + other, torch.ones(8))
    assert len(alpha.unique()) == (1 if mode == "even_even" else draws)
    assert (alpha == 0.5).all() == (mode == "even_even")
    assert torch.equal(alpha, beta) == (mode in ("shake_keep", "even_even"))
    assert (beta == 0.5).all() == (mode in ("shake_even", "even_even"))
    assert len(beta.unique()) == (draws if mode in ("shake_shake", "shake_keep") else 1)


def test_draws_are_uniform_and_independent() -> None:
    torch.manual_seed(0)
    alpha, beta, _ = shares(ShakeShake(), n=4000)
    for share in (alpha, beta):
        assert share.min() >= 0
        assert share.max() <= 1
        counts = torch.histc(share, bins=4, min=0, max=1)
        assert ((counts - 1000).abs() < 4 * (4000 * 0.25 * 0.75) ** 0.5).all()
    assert abs(float(torch.corrcoef(torch.stack([alpha, beta]))[0, 1])) < 4 / 4000**0.5


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_uses_one_half(mode: str) -> None:
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert torch.equal(ShakeShake(mode).eval()(a, b), 0.5 * (a + b))


def test_a_seed_fixes_outputs_and_gradients() -> None:
    model = timm.create_model("shake_shake_26_2x32d", num_classes=4).train()
    x = torch.randn(2, 3, 16, 16)
    results = []
    for seed in (0, 0, 1):
        model.zero_grad()
        torch.manual_seed(seed)
        out = model(x)
        out.square().sum().backward()
        results.append((out.detach(), model.stem.conv.weight.grad.clone()))
    assert all(torch.equal(*pair) for pair in zip(results[0], results[1], strict=True))
    assert not any(torch.equal(*pair) for pair in zip(results[0], results[2], strict=True))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_skip_sees_two_different_pixels() -> None:
    skip = ShiftedSkip(1, 2, 2).eval()
    nn.init.ones_(skip.straight.weight)
    nn.init.ones_(skip.shifted.weight)
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    y = skip(x) * (1 + skip.norm.eps) ** 0.5
    assert y[0, 0].tolist() == [[1, 3], [9, 11]]
    assert y[0, 1].tolist() == [[0, 0], [0, 6]]
    assert ShiftedSkip(3, 8, 2)(torch.zeros(2, 3, 7, 7)).shape == (2, 8, 4, 4)


def test_skips_are_identities_where_the_shape_stays() -> None:
    with without_values():
        model = timm.create_model("shake_shake_26_2x32d")
    kinds = [[type(block.shortcut).__name__ for block in stage] for stage in model.stages]
    assert kinds == [["ShiftedSkip"] + ["Identity"] * 3] * 3


@pytest.mark.parametrize("side", [28, 32, 48, 64])
def test_sizes(side: int) -> None:
    with without_values():
        model = timm.create_model("shake_shake_26_2x32d", num_classes=3, in_chans=1).eval()
        x = torch.zeros(2, 1, side, side)
        assert model(x).shape == (2, 3)
        assert model.forward_head(model.forward_features(x), pre_logits=True).shape == (2, 128)


def test_halves_make_the_whole_and_the_rest_shakes() -> None:
    torch.manual_seed(0)
    model = timm.create_model("shake_shake_26_2x32d", num_classes=4).eval()
    x = torch.randn(2, 3, 16, 16)
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates={"depth0-1": 1, "all": None}, epochs=1)})[0]
    found = split.split_network(model, phase.trainable, x)
    assert found is not None
    rest = {id(p) for p in found.rest.parameters()}
    assert {key for key, p in model.named_parameters() if id(p) in rest} == phase.trainable
    with torch.no_grad():
        features = fold.fold_batch_norms(found.prefix.eval())(x)
        assert torch.allclose(found.rest.eval()(features), model(x), rtol=1e-4, atol=1e-4)
        found.rest.train()
        assert not torch.equal(found.rest(features), found.rest(features))
    plan.freeze(model, phase)
    train_mode(model)
    mixes = [module.training for module in model.modules() if isinstance(module, ShakeShake)]
    assert mixes == [False] * 8 + [True] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [({"mode": "even"}, "shake_even"), ({"level": "pixel"}, "image, batch"), ({"width": 0}, "above 0")],
)
def test_impossible_arguments_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        factory.build_outline(ModelConfig(name="shake_shake_26_2x32d", weights="none", args=options))
