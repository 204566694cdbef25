"""Auxiliary classifiers: their weighted loss, asked for once, and a summand of what training minimises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch.nn import functional

from headstart.models import architectures  # noqa: F401
from headstart.models.architectures.auxiliary import Auxiliary
from headstart.models.outline import without_values


def test_the_auxiliary_loss_is_weighted_and_asked_for_once() -> None:
    side = Auxiliary(6, 5, reduced=2, hidden=3)
    side.drop.p = 0.0
    x, labels = torch.rand(4, 6, 3, 3), torch.tensor([0, 1, 2, 3])
    assert side(x) is x
    logits = side.logits
    loss = side.auxiliary_loss(partial(functional.cross_entropy, label_smoothing=0.1), labels)
    assert torch.allclose(loss, 0.3 * functional.cross_entropy(logits, labels, label_smoothing=0.1))
    assert float(side.auxiliary_loss(functional.cross_entropy, labels)) == 0, "the logits are gone"
    side.eval()(x)
    assert side.logits is None


def test_training_adds_the_auxiliary_loss(run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a live phase all parameters move, those of the auxiliary classifiers included; validation asks for none."""
    asked, reached = [], []
    original = Auxiliary.auxiliary_loss

    def spy(self: Auxiliary, objective: Any, targets: torch.Tensor) -> torch.Tensor:
        loss = original(self, objective, targets)
        asked.append((float(loss.detach()), objective.smoothing))
        loss.register_hook(lambda gradient: reached.append(float(gradient)))
        return loss

    monkeypatch.setattr(Auxiliary, "auxiliary_loss", spy)
    result = run_small(
        "model=googlenet", "strategy=scratch", "data.image_size=32", "epochs=1", "label_smoothing=0.1",
        "+model.args.width=0.0625", "+model.args.norm=true",
    )  # fmt: skip
    steps = -(-result["n_train"] // 32)
    assert len(asked) == 2 * steps
    assert all(loss > 0 and smoothing == 0.1 for loss, smoothing in asked)
    assert reached == [1.0] * len(asked), "each is a summand of the loss that is minimised"
    with without_values():
        model = timm.create_model("googlenet", num_classes=10, width=1 / 16, norm=True)
    count = sum(p.numel() for p in model.parameters())
    assert result["params"] == {"total": count, "trainable": count}
