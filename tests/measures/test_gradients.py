"""The sizes of gradients: an epoch and layer at a time, resumed too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from headstart.measures import gradients
from measures.tables import TINY, rows


def test_gradients_are_written_an_epoch_and_layer_at_a_time(run_small: Callable[..., dict]) -> None:
    result = run_small(*TINY, "+measures.gradients._target_=headstart.measures.GradientNorms")
    found = rows(result["folder"] / "gradients.csv")
    layers = [row["name"] for row in found if row["epoch"] == "1"]
    assert [int(row["epoch"]) for row in found] == [1] * len(layers) + [2] * len(layers)
    assert [int(row["layer"]) for row in found[: len(layers)]] == list(range(1, len(layers) + 1))
    assert layers[0].startswith("stem")
    assert layers[-1] == "head.weight"
    assert len(layers) == 20, "ResNet-20 is named for its layers with weights"
    assert all(0 < float(row["rms"]) < 100 for row in found)


def watch(path: Path, epoch: int, *, last: bool = True) -> None:
    """An optimizer's step, as Lightning announces it."""
    torch.manual_seed(epoch)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
    model[1].requires_grad_(False)
    model(torch.ones(1, 3)).sum().backward()
    callback = gradients._GradientWatch(model, path, "all")
    trainer = SimpleNamespace(is_last_batch=last, current_epoch=epoch)
    callback.on_before_optimizer_step(trainer, None, None)
    if last:
        size = float(model[0].weight.grad.pow(2).mean() ** 0.5)
        assert float(rows(path)[-1]["rms"]) == pytest.approx(size)


def test_an_epoch_written_again_does_not_double(tmp_path: Path) -> None:
    path = tmp_path / "gradients.csv"
    for epoch in (0, 1, 1, 2):  # the second was cut off after it was written, and is done again
        watch(path, epoch)
    assert [(row["epoch"], row["layer"], row["name"]) for row in rows(path)] == [
        (str(epoch), "1", "0.weight") for epoch in (1, 2, 3)
    ], "a bias is no layer, nor is what is frozen"


def test_only_the_last_step_of_an_epoch_is_written(tmp_path: Path) -> None:
    watch(tmp_path / "gradients.csv", 0, last=False)
    assert not (tmp_path / "gradients.csv").exists()
