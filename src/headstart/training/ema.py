"""An exponential moving average of the weights of a phase, by timm; it is validated and saved in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from timm.utils import ModelEmaV3
from torch import distributed as dist
from torch import nn

from headstart.distributed import comm


# Not Lightning's EMAWeightAveraging (2.6.6): it takes no warm-up of the decay, and changes frozen weights, as
# d * w + (1 - d) * w is not w in the last digit. Its base class WeightAveraging can be given timm's update, and then
# resumes and ends with the same digits as this class. But it has no public way to swap the averages in after
# validation, when the best are kept (`_swap_models` is private); it copies the whole LightningModule, with the
# pretrained weights that a penalty holds; and it counts steps in a tensor, so that on a GPU each step would wait for
# the device.
class WeightAverage(pl.Callback):
    """The average of a network's parameters and buffers over the optimizer's steps (Tarvainen & Valpola 2017).

    The decay rises to its value by timm's warm-up, 1 - step^(-2/3), so that short runs forget their start.

    Args:
        network: the network that learns, already on its device and with its parameters frozen.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.ema, self.steps = network, ModelEmaV3(network, decay, use_warmup=True), 0

    @property
    def module(self) -> nn.Module:
        """The averaged network, in eval mode."""
        return self.ema.module

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self.steps:  # not while gradients are accumulated
            self.steps = trainer.global_step
            self.ema.update(self.network, self.steps)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the buffers of the first process: each process has averaged the batch statistics of its own images."""
        if comm.world_size() > 1:
            for buffer in self.module.buffers():
                dist.broadcast(buffer, src=0)

    @contextmanager
    def use_average(self) -> Iterator[None]:
        """Inside this context, the network has the averaged values."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for live, mean in zip(self.network.state_dict().values(), self.module.state_dict().values(), strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": dict(self.module.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]
        self.module.load_state_dict(state_dict["average"])
