"""Penalties against their equations."""

from __future__ import annotations

import pytest
import torch

from headstart.penalty import L2SP


def test_l2_sp_is_its_equation_and_pulls_towards_the_start() -> None:
    start = {"body": torch.tensor([1.0, -2.0])}
    learning = {"body": torch.tensor([2.0, 0.0], requires_grad=True), "head": torch.tensor([3.0], requires_grad=True)}
    penalty = L2SP(alpha=0.1, beta=0.01)(learning, start)
    assert float(penalty.detach()) == pytest.approx(0.05 * (1 + 4) + 0.005 * 9)
    penalty.backward()
    assert learning["body"].grad.tolist() == pytest.approx([0.1 * 1, 0.1 * 2])
    assert learning["head"].grad.tolist() == pytest.approx([0.01 * 3])
