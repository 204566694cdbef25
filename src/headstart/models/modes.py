"""The mode (train or eval) of each layer of a network of which some parameters learn: one rule for images and features.

Whatever contains a parameter that learns is in training mode, whatever has only frozen parameters is in eval mode, and
a layer without parameters, such as a dropout, has the mode of the module that contains it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def train_mode(module: nn.Module, statistics: str = "live") -> None:
    """Put a module in `train()` mode, except every part whose parameters are all frozen, which is put in `eval()` mode.

    So a frozen batch norm keeps its statistics, and a frozen block has no dropout. `statistics="frozen"` puts every
    batch norm in `eval()` mode: its weights then learn with the statistics that it had.
    """
    module.train()

    def put_frozen_in_eval(part: nn.Module) -> None:
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()
        else:
            for child in part.children():
                put_frozen_in_eval(child)

    put_frozen_in_eval(module)
    for part in module.modules() if statistics == "frozen" else ():
        if has_statistics(part):
            part.eval()


def has_statistics(module: Any) -> bool:
    """Whether a module is a norm that can keep running statistics."""
    batch_norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return isinstance(module, (*batch_norms, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d))


def is_random(layer: nn.Module) -> bool:
    """Whether a layer is a dropout or drop path with a rate above 0, in training mode."""
    rates = [getattr(layer, name, 0) for name in ("p", "prob", "drop_prob")]
    return layer.training and "Drop" in type(layer).__name__ and any(isinstance(rate, float) and rate for rate in rates)


@contextmanager
def learning(model: nn.Module, trainable: Collection[str]) -> Iterator[None]:
    """For a while, let these parameters learn and freeze the others.

    Afterwards modes, `requires_grad` and buffers are as before, whatever was done to them in the meantime.
    """
    modes = {module: module.training for module in model.modules()}
    learns = {parameter: parameter.requires_grad for parameter in model.parameters()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trainable)
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, learnt in learns.items():
            parameter.requires_grad_(learnt)
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)
