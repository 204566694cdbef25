"""The average of the weights: what it is, that it is what a phase keeps, and that a checkpoint holds it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from headstart.training.ema import WeightAverage


def stepped(average: WeightAverage, network: nn.Module, steps: range) -> None:
    """As after optimizer steps that set every weight to the step's number."""
    for step in steps:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(float(step))
        trainer = cast(Any, SimpleNamespace(global_step=step))
        for _ in range(2):  # as where gradients are accumulated over two batches: the second is no new step
            average.on_train_batch_end(trainer, cast(Any, None), None, None, 0)


def by_hand(steps: int, decay: float) -> float:
    """The average of 1, 2, ..., `steps`, its decay rising as 1 - step^(-2/3)."""
    mean = 0.0
    for step in range(1, steps + 1):
        share = 0.0 if step == 1 else min(decay, 1 - step ** (-2 / 3))
        mean = share * mean + (1 - share) * step
    return mean


def test_it_is_the_moving_average_with_a_warm_up() -> None:
    network = nn.Linear(2, 2)
    average = WeightAverage(network, 0.9)
    stepped(average, network, range(1, 51))
    found = average.module.weight
    assert torch.allclose(found, torch.full((2, 2), by_hand(50, 0.9)), rtol=1e-5)
    assert by_hand(50, 0.9) < 45, "it lags behind"


def test_weights_that_stay_equal_are_averaged_to_the_last_digit() -> None:
    """Frozen weights are in the average too, and must be handed on as they were."""
    torch.manual_seed(0)
    network = nn.Linear(50, 50)
    start = network.weight.detach().clone()
    average = WeightAverage(network, 0.998)
    for step in range(1, 60):
        average.on_train_batch_end(cast(Any, SimpleNamespace(global_step=step)), cast(Any, None), None, None, 0)
    assert torch.equal(average.module.weight, start)


def test_inside_exchanged_the_network_is_the_average_and_afterwards_itself() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(network, 0.9)
    stepped(average, network, range(1, 4))
    with average.exchanged():
        assert torch.allclose(network[0].weight, torch.full((2, 2), by_hand(3, 0.9)))
    assert torch.equal(network[0].weight, torch.full((2, 2), 3.0))


def test_it_goes_on_from_a_checkpoint_as_if_nothing_had_been() -> None:
    network = nn.Linear(2, 2)
    whole, first = WeightAverage(network, 0.9), WeightAverage(network, 0.9)
    stepped(first, network, range(1, 8))
    second = WeightAverage(network, 0.9)
    second.load_state_dict(first.state_dict())
    stepped(second, network, range(8, 12))
    stepped(whole, network, range(1, 12))
    assert torch.equal(whole.module.weight, second.module.weight)
