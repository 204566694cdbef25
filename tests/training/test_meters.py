"""What is measured in an epoch: the score that `select` names is that of result.json, on one process and on several."""

from __future__ import annotations

import pytest
import torch

from headstart.config.selection import BY_CLASS
from headstart.evaluation.metrics import evaluate
from headstart.training.meters import OutputScore


@pytest.mark.parametrize("select", BY_CLASS)
def test_a_score_over_batches_is_that_of_all_images(select: str) -> None:
    name, chance = select.removeprefix("val_"), torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 4, generator=chance), torch.randint(4, (50,), generator=chance)
    meter = OutputScore(name)
    for _ in range(2):  # it begins anew after a reset
        for rows in torch.arange(50).split(16):
            meter.update(logits[rows], labels[rows])
        assert float(meter.compute()) == pytest.approx(evaluate(logits, labels)[name])
        meter.reset()
