"""Stochastic depth: who survives how often, what it saves, and what both rules have in common."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import nn

from headstart.config.schema import PhaseConfig
from headstart.models import architectures, fold, split  # noqa: F401
from headstart.models.architectures.stochastic_depth import StochasticBranch, Survival
from headstart.models.modes import train_mode
from headstart.models.outline import without_values
from headstart.strategy import plan

PASSES = 2000


class Counting(nn.Module):
    """A branch that returns its input and counts its calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


def stochastic(model: nn.Module) -> list[StochasticBranch]:
    return [module for module in model.modules() if isinstance(module, StochasticBranch)]


def test_linear_decay_of_a_network() -> None:
    """p_l = 1 − (l/L)(1 − p_L) for l = 1 … 54 in 110 layers (Huang et al. 2016, eq. 4)."""
    with without_values():
        model = timm.create_model("resnet110_cifar", survival=0.5)
        constant = timm.create_model("resnet110_cifar", survival=0.8, survival_decay="constant")
        always = timm.create_model("resnet110_cifar")
    probabilities = [branch.probability for branch in stochastic(model)]
    assert probabilities == pytest.approx([1 - block / 54 * 0.5 for block in range(1, 55)])
    assert probabilities[-1] == 0.5
    assert sum(probabilities) == pytest.approx(54 * 0.75 - 0.25), "the paper: 40 of 54 blocks on average"
    assert [branch.probability for branch in stochastic(constant)] == [0.8] * 54
    assert stochastic(always) == []
    sizes = {sum(p.numel() for p in net.parameters()) for net in (model, constant, always)}
    assert len(sizes) == 1


@pytest.mark.parametrize("probability", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("mode", ["batch", "image"])
def test_survival_frequency(probability: float, mode: str) -> None:
    torch.manual_seed(0)
    branch = StochasticBranch(Counting(), probability, mode)
    if mode == "batch":
        survived = sum(bool((branch(torch.ones(2, 1, 1, 1)) > 0).all()) for _ in range(PASSES))
    else:
        survived = int((branch(torch.ones(PASSES, 1, 1, 1)) > 0).sum())
    deviation = math.sqrt(PASSES * probability * (1 - probability))
    assert abs(survived - PASSES * probability) < 4 * deviation


def test_a_dropped_branch_is_not_computed() -> None:
    torch.manual_seed(0)
    inner = Counting()
    branch = StochasticBranch(inner, 0.5, "batch")
    survived = sum(bool(branch(torch.ones(2, 3, 4, 4)).any()) for _ in range(200))
    assert 60 < survived < 140
    assert inner.calls == survived
    by_image = StochasticBranch(Counting(), 0.5, "image")
    values = by_image(torch.ones(64, 3, 4, 4)).flatten(1)
    assert (values == values[:, :1]).all(), "an image survives as a whole"
    assert 0 < values[:, 0].sum() < 64
    assert by_image.branch.calls == 1


@pytest.mark.parametrize("mode", ["batch", "image"])
@pytest.mark.parametrize("rule", ["paper", "inverted"])
def test_training_expects_what_testing_gives(rule: str, mode: str) -> None:
    torch.manual_seed(0)
    p = 0.6
    branch = StochasticBranch(Counting(), p, mode, rule)
    if mode == "batch":
        seen = torch.stack([branch(torch.ones(1, 1, 1, 1)).sum() for _ in range(PASSES)])
    else:
        seen = branch(torch.ones(PASSES, 1, 1, 1)).flatten()
    survivor = float(seen.max())
    assert set(seen.tolist()) == {0.0, survivor}
    tested = float(branch.eval()(torch.ones(1, 1, 1, 1)))
    assert survivor * p == pytest.approx(tested), "the expectation is the test-time value, exactly"
    assert float(seen.mean()) == pytest.approx(tested, abs=4 * survivor * math.sqrt(p * (1 - p) / PASSES))
    assert (survivor, tested) == pytest.approx({"paper": (1, p), "inverted": (1 / p, 1)}[rule])


def test_both_rules_expect_the_same_of_branches_that_differ_by_p() -> None:
    """b·F against b·(pF)/p: the rules are one reparameterisation apart, in training and in testing."""
    p, x = 0.6, torch.randn(8, 4, 2, 2)
    paper = StochasticBranch(nn.Conv2d(4, 4, 1, bias=False), p, "image", "paper")
    inverted = StochasticBranch(nn.Conv2d(4, 4, 1, bias=False), p, "image", "inverted")
    inverted.branch.weight.data = paper.branch.weight.data * p
    for training in (True, False):
        outputs = []
        for branch in (paper, inverted):
            torch.manual_seed(3)
            outputs.append(branch.train(training)(x))
        assert torch.allclose(*outputs, atol=1e-6)


def test_a_dropped_block_is_its_shortcut_and_learns_nothing() -> None:
    model = timm.create_model("resnet20_cifar", survival=1e-9, survival_decay="constant", num_classes=4)
    model.train()
    stage, x = model.stages[0], torch.rand(2, 16, 8, 8)  # not negative: the ReLU after adding changes nothing
    statistics = [m.running_mean.clone() for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
    assert torch.equal(stage(x), x)
    after = [m.running_mean for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(old, new) for old, new in zip(statistics, after, strict=True))
    model(torch.randn(2, 3, 16, 16)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name}: distributed training waits for it, weight decay acts on it"
        assert parameter.grad.any() == ("stages" not in name), name


def test_a_seed_fixes_the_draws() -> None:
    model = timm.create_model("resnet20_cifar", survival=0.5, survival_decay="constant", survival_mode="batch").train()
    x = torch.randn(4, 3, 16, 16)
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("mode", ["batch", "image"])
def test_cut_at_a_stage_boundary(mode: str) -> None:
    """Frozen blocks drop nothing and may lie in the cached prefix; what learns keeps drawing anew behind the cut."""
    torch.manual_seed(0)
    model = timm.create_model(
        "resnet20_cifar", survival=0.5, survival_decay="constant", survival_mode=mode, num_classes=4
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates={"depth0-1": 1, "all": None}, epochs=1)})[0]
    found = split.split_network(model, phase.trainable, x)
    assert found is not None
    rest = {id(p) for p in found.rest.parameters()}
    assert {key for key, p in model.named_parameters() if id(p) in rest} == phase.trainable
    with torch.no_grad():
        features = fold.fold_batch_norms(found.prefix.eval())(x)
        assert torch.allclose(found.rest.eval()(features), model(x), rtol=1e-4, atol=1e-4)
        found.rest.train()
        assert len({float(found.rest(features).sum()) for _ in range(10)}) > 1
    plan.freeze(model, phase)
    train_mode(model)
    assert [branch.training for branch in stochastic(model)] == [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"last": 0.0}, "above 0"),
        ({"last": 1.1}, "at most 1"),
        ({"decay": "cosine"}, "linear, constant"),
        ({"mode": "pixel"}, "batch, image"),
        ({"rule": "both"}, "paper, inverted"),
    ],
)
def test_impossible_settings_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Survival(**options)
