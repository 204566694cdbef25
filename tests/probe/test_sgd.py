"""Linear heads by SGD: many at once are each one alone, in float32 and in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from headstart.probe import LinearHeads, Targets
from headstart.probe.sgd import _Stack
from probe.problems import Rows


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_heads_trained_together_are_those_trained_alone(smoothing: float, digits: Rows) -> None:
    x, y, val_x, _ = digits
    options = {"epochs": 4, "batch_size": 128}
    both = LinearHeads(lrs=[0.01, 0.1], weight_decays=[0.0, 0.1], **options)
    (together,) = both.solve([x], Targets(y, 10, smoothing=smoothing), both.values, 3)
    for index, (lr, decay) in enumerate(both.values):
        head = torch.nn.Linear(64, 10)  # the same by torch's own SGD, on features prepared by hand
        torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
        spread = (x - x.mean(0)).square().mean(0).sqrt()
        factor = (spread + 1e-3 * spread.mean()) ** -0.5
        factor = factor / (factor * spread).square().mean().sqrt()
        groups = [{"params": [head.weight], "weight_decay": decay}, {"params": [head.bias]}]
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        generator = torch.Generator().manual_seed(3)
        for step in range(20):
            if step % 5 == 0:
                order = torch.randperm(600, generator=generator).split(128)
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.5 * (1 + np.cos(np.pi * step / 20))
            optimizer.zero_grad()
            rows = order[step % 5]
            logits = head((x[rows] - x.mean(0)) * factor)
            functional.cross_entropy(logits, y[rows], label_smoothing=smoothing).backward()
            optimizer.step()
        expected = head((val_x - x.mean(0)) * factor)
        assert torch.allclose(together.head(index)(val_x), expected, atol=1e-3), (lr, decay)
    assert torch.equal(both.fit(*digits, 10, seed=1).head.weight, both.fit(*digits, 10, seed=1).head.weight)
    assert not torch.equal(both.fit(*digits, 10, seed=1).head.weight, both.fit(*digits, 10, seed=2).head.weight)


@pytest.mark.parametrize("count", [2, 8])  # of float32 heads, few and many are multiplied in different orders
@pytest.mark.parametrize("weighted", [False, True])
def test_products_in_bfloat16_learn_the_same_heads_but_for_their_rounding(
    count: int, weighted: bool, digits: Rows
) -> None:
    x, y, val_x, val_y = digits
    weights = torch.arange(len(y)).remainder(3).float() if weighted else None
    rates = [0.01 * 1.5**step for step in range(count)]
    exact, rounded = (LinearHeads(lrs=rates, epochs=20, precision=name) for name in ("32", "bf16"))
    (wanted,), (found,) = (probe.solve([x], Targets(y, 10, weights), probe.values, 3) for probe in (exact, rounded))
    away = (found.weight - wanted.weight).norm(dim=(1, 2)) / wanted.weight.norm(dim=(1, 2))
    assert found.weight.dtype == torch.float32
    assert (away > 1e-5).all(), "float32 products would be as near as that"
    assert (away < 0.02).all()
    right = [(heads.logits(val_x).argmax(2) == val_y).float().mean(1) for heads in (wanted, found)]
    assert torch.allclose(*right, atol=0.01)


def test_no_class_is_rounded_more_than_the_others() -> None:
    """The last class is not stored: as minus the sum of the others' rounded logits it would gather their errors."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, generator=generator)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        stack = _Stack(x, torch.ones(2), torch.zeros(2), Targets(torch.arange(64), 100), dtype)
        weight = torch.randn(2, 100, 256, generator=torch.Generator().manual_seed(1))
        stack.weight.data = (weight - weight.mean(1, keepdim=True))[:, :-1].flatten(0, 1)
        found.append(stack.logits(x.to(dtype)).detach())
    assert found[0].shape == (2, 100, 64)
    assert found[0].sum(1).abs().max() < 1e-2, "all classes sum to zero"
    assert torch.allclose(found[0][:, :-1].flatten(0, 1), stack.weight @ x.T, atol=1e-3)
    error = (found[1] - found[0]).square().mean((0, 2)).sqrt()
    assert error[-1] < 2 * error[:-1].mean()


def test_a_rate_that_diverges_is_not_chosen(digits: Rows) -> None:
    fit = LinearHeads(lrs=[0.05, 1e30], epochs=60).fit(*digits, 10)
    assert fit.chosen["value"] == 0.05
    assert fit.chosen["val_accuracy"] > 0.9
