"""A measure of the size of gradients, layer by layer, while a phase learns."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from headstart.distributed import comm
from headstart.measures.measure import Measure, read_rows, write_rows


class GradientNorms(Measure):
    """Records the size of the gradient of each layer's weights in `gradients.csv`, a row for each epoch and layer.

    Columns: phase, epoch, layer (1 is nearest the input), name, rms (root of the mean square of the gradient's
    elements). The gradient is that of the epoch's last step, before clipping, so a resumed run writes the same rows.
    """

    FILE = "gradients.csv"

    def watch(self, model: nn.Module, folder: Path, phase: str) -> pl.Callback | None:
        return _GradientWatch(model, folder / self.FILE, phase) if comm.is_first() else None


class _GradientWatch(pl.Callback):
    def __init__(self, model: nn.Module, path: Path, phase: str) -> None:
        self.weights = [(name, weight) for name, weight in model.named_parameters() if weight.ndim > 1]
        self.path, self.phase = path, phase

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not trainer.is_last_batch:
            return
        epoch = trainer.current_epoch + 1
        rows = [
            {
                "phase": self.phase,
                "epoch": epoch,
                "layer": layer,
                "name": name,
                "rms": float(weight.grad.pow(2).mean()) ** 0.5,
            }
            for layer, (name, weight) in enumerate(self.weights, start=1)
            if weight.grad is not None
        ]
        kept = [row for row in read_rows(self.path) if (row["phase"], int(row["epoch"])) != (self.phase, epoch)]
        write_rows(self.path, [*kept, *rows])
