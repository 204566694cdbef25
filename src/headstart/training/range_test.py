"""The range test of a learning rate: a phase is trained for some steps while its rate rises from nearly 0 to too much.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3 (https://arxiv.org/abs/1506.01186); the
range, the number of steps, the smoothing and the end are those of fastai's `lr_find`, which rises by a constant factor
where Smith rises by a constant difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from headstart.config.instantiate import build
from headstart.context import Context
from headstart.runtime.seeds import derive_seed
from headstart.strategy.plan import Phase, freeze, optimizer_groups
from headstart.strategy.route import LiveImages
from headstart.tracking import progress
from headstart.training.gradient import make_loaders, make_loss, make_settings, prepare_input
from headstart.training.module import PhaseModule
from headstart.training.trainer import make_trainer

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
MEMORY = 0.98  # of the exponential moving average that smooths the losses
DIVERGED = 4.0  # the test ends when the smoothed loss is so many times its lowest value


@dataclass
class Curve:
    """What a range test measures: the rate of each step, the loss before it, and that loss smoothed."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)

    def add(self, rate: float, loss: float) -> bool:
        """Add a step; returns whether the test is over: the loss diverges, or is not finite, which is not added."""
        if not math.isfinite(loss):
            return True
        before = self.smoothed[-1] * (1 - MEMORY ** len(self.losses)) if self.losses else 0.0
        self.rates.append(rate)
        self.losses.append(loss)
        # divided by the sum of the weights so far, or the first values would be too small
        self.smoothed.append((MEMORY * before + (1 - MEMORY) * loss) / (1 - MEMORY ** len(self.losses)))
        return self.smoothed[-1] > DIVERGED * min(self.smoothed)


def find_rate_of_step(step: int) -> float:
    """The rate of a step, counted from 0: by a constant factor from `LOWEST` to `HIGHEST`."""
    return float(LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)))


class RangeTest(PhaseModule):
    """Trains as the phase would, at the rates of the test; parts of the network keep the rates they have among them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.curve, self.over = Curve(), False
        self._batches: list[tuple[float, int]] = []  # loss and images of each batch of a step

    def configure_optimizers(self) -> Any:
        return build("optimizer", self.settings.optimizer, self.groups)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = find_rate_of_step(self.global_step) * group["rate"]

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = super().training_step(batch, batch_index)
        self._batches.append((float(self._loss), len(batch[1])))
        return loss

    def _record_loss(self, loss: Tensor) -> None:
        self._loss = loss  # one that is not finite is no failure here

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        if self.over or self.global_step == len(self.curve.losses):
            return  # the test is over, or the step has more batches
        images = sum(size for _, size in self._batches)
        loss = sum(loss * size for loss, size in self._batches) / images
        self._batches.clear()
        done = len(self.curve.losses)
        self.over = self.curve.add(find_rate_of_step(done), loss) or done + 1 == STEPS
        self.trainer.should_stop = self.over


def run_range_test(context: Context, phase: Phase, index: int) -> Curve:
    """Train a phase for at most `STEPS` steps while its rate rises; images are repeated where they are fewer.

    The network of `context` is changed, and of no use afterwards; so are the states of random generators.
    """
    config = context.config
    freeze(context.model, phase)
    route = LiveImages("a range test")  # frozen layers run with each step: there are too few steps to cache anything
    settings = replace(make_settings(context, phase, index), seed=derive_seed(config.seed, "learning_rate"))
    train, val, network, preprocess = prepare_input(context, phase, route, None)
    decay = settings.optimizer.get("weight_decay")
    module = RangeTest(
        phase,
        network,
        preprocess,
        optimizer_groups(context.model, phase, LOWEST, decay),
        settings,
        make_loss(context, phase),
    )
    batches, _ = make_loaders(context, phase, route, train, val)
    epochs = math.ceil(STEPS * config.hardware.accumulate / len(batches)) + 1
    trainer = make_trainer(config.hardware, epochs, context.run.folder, [])
    with progress.task("a range test of the learning rate"):
        trainer.fit(module, batches)
    return module.curve
