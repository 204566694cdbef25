"""The gradients of each step of a phase on features, by Lightning in one or two processes, and by plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.schema import HardwareConfig, PhaseConfig
from headstart.data.batches import Batches
from headstart.data.loader import Pixels, make_loader
from headstart.strategy.plan import Phase
from headstart.training.loss import TrainingLoss
from headstart.training.module import PhaseModule, PhaseSettings
from headstart.training.trainer import make_trainer

IMAGES, CLASSES = 19, 3
RATE, PENALTY = 0.5, 0.01


def rows() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(IMAGES, 6), torch.randint(CLASSES, (IMAGES,))


def network() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(6, CLASSES)


def penalty(layer: nn.Linear) -> Tensor:
    return PENALTY * layer.weight.square().sum()


class Gradients(pl.Callback):
    """The gradient of each step."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.found.append(pl_module.network.weight.grad.clone())


def by_lightning(folder: Path, batch: int, accumulate: int, devices: int = 1) -> list[Tensor]:
    """The gradients of one epoch, as a run makes its steps: `devices` is the number of processes of this group."""
    layer, (features, labels) = network(), rows()
    hardware = HardwareConfig(accelerator="cpu", precision="32", devices=devices, accumulate=accumulate)
    settings = PhaseSettings(
        optimizer={"_target_": "torch.optim.SGD", "lr": RATE},
        scheduler={"sched": "none"},
        hardware=hardware,
        select="val_loss",
        batch_size=batch,
        seed=0,
        index=0,
    )
    phase = Phase("p", PhaseConfig(rates={"all": 1}, epochs=1), dict.fromkeys(("weight", "bias"), 1.0), (), 0.0)
    groups = [{"params": list(layer.parameters()), "lr": RATE, "rate": 1.0}]
    loss = TrainingLoss(CLASSES, penalty=lambda: penalty(layer))
    module, seen = PhaseModule(phase, layer, None, groups, settings, loss), Gradients()
    names = [str(row) for row in range(IMAGES)]
    loader = make_loader(Pixels(features, labels, names, names), batch, shuffle=True, seed=0, phase="p")
    make_trainer(hardware, 1, folder, [seen]).fit(module, loader)
    return seen.found


def by_plain_torch(images_per_step: int) -> list[Tensor]:
    """The gradient of the mean loss over the images of each step, in the same order."""
    layer, (features, labels) = network(), rows()
    found = []
    (order,) = Batches(IMAGES, IMAGES, True, 0, "p")
    for some in order.split(images_per_step):
        layer.zero_grad()
        (functional.cross_entropy(layer(features[some]), labels[some]) + penalty(layer)).backward()
        found.append(layer.weight.grad.clone())
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter -= RATE * parameter.grad
    return found


def work_as_rank(folder: str, rank: int, batch: int, accumulate: int) -> None:
    """One of two processes over gloo; writes its gradients to `FOLDER/RANK`."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(by_lightning(Path(folder), batch, accumulate, devices=2), Path(folder) / str(rank))
    torch.distributed.destroy_process_group()
