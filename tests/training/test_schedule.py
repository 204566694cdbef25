"""The rates of a warm-up, and of the steps after it."""

from __future__ import annotations

import pytest
import torch
from timm.scheduler import create_scheduler_v2

from headstart.training.schedule import step_schedule


@pytest.mark.parametrize("warmup_lr", [0.0, 0.1])
@pytest.mark.parametrize("sched", ["cosine", "step", "poly"])
def test_every_step_of_a_warm_up_has_a_rate_above_the_one_before_it(sched: str, warmup_lr: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    settings = {"warmup_epochs": 2, "warmup_lr": warmup_lr, "decay_epochs": 9, "step_on_epochs": False}
    scheduler, _ = create_scheduler_v2(optimizer, sched, num_epochs=10, updates_per_epoch=2, **settings)
    rates = []
    for done in range(20):
        step_schedule(scheduler, done)
        rates.append(optimizer.param_groups[0]["lr"])
    way = 1 - warmup_lr
    assert rates[:3] == pytest.approx([warmup_lr + share * way for share in (0.25, 0.5, 0.75)])
    scheduler.step_update(4)
    assert rates[3] == rates[4] == optimizer.param_groups[0]["lr"], "where the schedule stands after the warm-up"
    scheduler.step_update(19)
    assert rates[19] == optimizer.param_groups[0]["lr"] > 0


def test_without_a_warm_up_a_schedule_begins_with_the_full_rate() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=2, updates_per_epoch=2, step_on_epochs=False)
    step_schedule(scheduler, 0)
    assert optimizer.param_groups[0]["lr"] == 1.0
