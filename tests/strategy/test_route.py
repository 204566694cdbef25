"""Training the last group of a network on cached features of the rest ends in the weights of training it on images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import compose
from headstart.models import factory, weights
from headstart.models.modes import train_mode
from headstart.strategy import plan

LAST_GROUP = (
    "strategy=scratch",
    "~strategy.phases.all.rates.all",
    "+strategy.phases.all.rates={depth0-1:1,all:null}",
    "augment=none",
    "hardware.precision=32",
    "data.train_per_class=10",
    "data.batch_size=16",
    "optimizer=sgd",  # Adam divides by a gradient's size, and so makes much of rounding where that is next to nothing
    "epochs=3",
)


@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.slow), "convnext_atto"])
def test_cached_and_live_partial_fine_tuning_end_in_the_same_weights(name: str, run_small: Callable[..., dict]) -> None:
    options = (*LAST_GROUP, "model=timm", f"model.name={name}", "model.weights=none")
    cached = run_small(*options)
    live = run_small(*options, "strategy.phases.all.cache=false")
    kinds = [result["phases"][0]["kind"] for result in (cached, live)]
    assert kinds == ["features", "images"]
    assert cached["phases"][0]["best_epoch"] == live["phases"][0]["best_epoch"]
    ends = [load_file(result["folder"] / weights.FINAL) for result in (cached, live)]

    config = compose(*options)
    torch.manual_seed(config.seed)
    model = factory.create(config.model, tuple(cached["classes"]), pretrained=False)[0]
    (phase,) = plan.plan_phases(model, config.strategy.phases)
    plan.freeze(model, phase)
    train_mode(model)
    learning = {
        f"{prefix}.{key}"
        for prefix, part in model.named_modules()
        if part.training
        for key, _ in part.named_buffers(recurse=False)
    } | phase.trainable
    moved = 0.0
    for key, start in model.state_dict().items():
        with_cache, without = (end[key] for end in ends)
        if key not in learning:
            assert torch.equal(with_cache, start), f"{key} is frozen"
            assert torch.equal(without, start), f"{key} is frozen"
            continue
        change = (without - start).abs().max()
        apart = (with_cache - without).abs().max()
        # rounding moves a value over a ReLU's 0 here and there; other images or statistics would move it by its change
        assert apart <= 1e-6 + 1e-2 * float(change), f"{key}: {apart} apart, where training moved it by {change}"
        moved = max(moved, float(change))
    assert moved > 0.01, "something was learned"
    norms: list[Any] = [key for key in learning if key.endswith("running_mean")]
    assert bool(norms) == (name == "resnet18"), "one network with batch norm in what learns, one without"
