"""The LightningModule of a phase that learns by gradient; imported only if needed, because Lightning takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config import instantiate
from headstart.config.selection import BY_CLASS
from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.models.modes import train_mode
from headstart.runtime import hardware
from headstart.runtime.seeds import derive_seed, get_random_state, set_random_state
from headstart.training.loss import TrainingLoss
from headstart.training.meters import OutputScore, make_meters
from headstart.training.schedule import step_schedule

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig
    from headstart.strategy.plan import Phase

CHECK_EVERY = 50  # steps between two checks of the loss on a GPU: a check makes the step wait for the device


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """The settings of a phase from the run's config.

    Attributes:
        select: the rule by which the best epoch is chosen (`headstart.config.selection`).
        index: the phase's number in the strategy; the seeds of its epochs are derived from it and the run's seed.
    """

    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    hardware: HardwareConfig
    batch_size: int
    select: str
    seed: int
    index: int


class PhaseModule(pl.LightningModule):
    """Trains in one phase the whole network on images, or its second half on features.

    Args:
        phase: its name, and whether batch-norm statistics are frozen.
        network: takes the output of `preprocess` and returns logits [n, classes].
        preprocess: turns uint8 images into the network's input, augmented in training; None if batches are features.
        groups: the optimizer's groups (`headstart.strategy.plan.optimizer_groups`).
        validated: the network to validate, if it is not the one that learns.
    """

    run_network: Any  # the network, compiled if asked for
    validated: Any  # the network that is validated

    def __init__(
        self,
        phase: Phase,
        network: nn.Module,
        preprocess: nn.Module | None,
        groups: list[dict[str, Any]],
        settings: PhaseSettings,
        loss: TrainingLoss,
        *,
        validated: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.name, self.statistics = phase.name, phase.config.statistics
        self.first_bad: Tensor | None = None  # [loss, step] of the newest step, or of the first that was not finite
        self.network, self.preprocess, self.groups = network, preprocess, groups
        self.settings, self.objective = settings, loss
        # set without nn.Module's registration: else a checkpoint has all tensors a second time, as `_orig_mod.…`
        self.__dict__["run_network"] = torch.compile(network) if settings.hardware.compile else network
        self.__dict__["validated"] = network if validated is None else validated
        # auxiliary classifiers (`headstart.models.architectures.auxiliary`), each with a loss of its own
        self.auxiliary: list[Any] = [part for part in network.modules() if hasattr(part, "auxiliary_loss")]
        self.restored: dict[str, Any] | None = None
        self.validation: dict[str, float] = {}  # loss, accuracy, and what `select` names, of the newest validation
        names = ("learn", "check")  # "train" is a method of every module
        self.meters: Any = nn.ModuleDict({name: make_meters(loss.classes) for name in names})
        # not among the meters: between two steps, when a checkpoint is written, it is empty
        self.selected = OutputScore(settings.select.removeprefix("val_")) if settings.select in BY_CLASS else None

    def train(self, mode: bool = True) -> PhaseModule:
        """Put the network in training mode, except its frozen parts, which stay in eval mode."""
        super().train(mode)
        if mode:
            train_mode(self.network, self.statistics)
        return self

    def on_train_start(self) -> None:
        """Restore modes, generators and meters: if an epoch is resumed in its middle, no other hook is called."""
        self.train()
        if self.restored is None:
            return
        set_random_state(self.restored["random"][comm.rank()])
        meters = self.restored["meters"][comm.rank()]
        for name, metric in self._all_meters():
            for state, value in meters[name].items():
                setattr(metric, state, value.to(self.device))

    def on_train_epoch_start(self) -> None:
        self.train()  # Lightning does not change the modes
        seed = derive_seed(
            self.settings.seed, self.settings.index, self.current_epoch, *([comm.rank()] if comm.rank() else [])
        )
        torch.manual_seed(seed)
        if self.objective.mixer is not None:
            np.random.seed(seed % 2**32)  # noqa: NPY002 timm's Mixup draws from numpy's global generator

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to resume in the middle of an epoch: generators and meters of every process."""
        checkpoint["random"] = comm.all_gather(get_random_state())
        meters = {
            name: {state: value.detach().cpu() for state, value in metric.metric_state.items()}
            for name, metric in self._all_meters()
        }
        checkpoint["meters"] = comm.all_gather(meters)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.restored = {name: checkpoint[name] for name in ("random", "meters")}

    def _all_meters(self) -> Iterator[tuple[str, Any]]:
        for meter, metrics in self.meters.items():
            for name, metric in metrics.items():
                yield f"{meter}.{name}", metric

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return self._step(batch, "learn") * self._weigh(len(batch[1]), batch_index)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._step(batch, "check")

    def _weigh(self, images: int, batch_index: int) -> float:
        """The weight of a batch's mean loss with which a step's gradient is the mean over all images of the step.

        Lightning divides each loss by `accumulate`, and DDP averages gradients over the processes: both as if all
        batches of a step, and all processes, had equally many images, and as if no batch of the step were missing.
        """
        accumulate = self.trainer.accumulate_grad_batches
        loader: Any = self.trainer.train_dataloader
        whole = loader.sampler.count_step_images(accumulate)[batch_index // accumulate]
        return images * accumulate * comm.world_size() / whole

    def _step(self, batch: Any, meter: str) -> Tensor:
        learning = meter == "learn"
        inputs, labels = batch[0], batch[1]
        if self.preprocess is None:
            inputs = inputs.float()  # features may be kept in fewer bits than weights
        else:
            with torch.autocast(self.device.type, enabled=False):  # crops are computed from coordinates
                inputs = self.preprocess(inputs, train=learning)
        targets = labels
        if learning:
            inputs, targets = self.objective.make_targets(inputs, labels)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=hardware.memory_format(self.settings.hardware))
        # each new size would be compiled again, so an epoch's last batch and validation run without compilation
        whole = len(labels) == self.settings.batch_size
        network = self.validated if not learning else self.run_network if whole else self.network
        logits = network(inputs)
        loss = (self.objective if learning else functional.cross_entropy)(logits.float(), targets)
        self.meters[meter]["loss"].update(loss.detach(), len(labels))
        self.meters[meter]["accuracy"].update(logits.detach(), labels)
        if self.selected is not None and not learning:
            self.selected.update(logits.detach(), labels)
        if learning:  # not in the meter, so that its loss can be compared with the validation loss
            for part in self.auxiliary:
                loss = loss + part.auxiliary_loss(self.objective, targets)
            if self.objective.penalty is not None:
                loss = loss + self.objective.penalty()
            self._record_loss(loss.detach())
        return loss

    def on_validation_epoch_end(self) -> None:
        self.validation = self.read_meters("check")
        if self.selected is not None:
            self.validation[self.settings.select] = float(self.selected.compute())
            self.selected.reset()

    def _record_loss(self, loss: Tensor) -> None:
        """Record the first loss that is not finite, on the device; on a CPU it is checked at once, on a GPU later."""
        newest = torch.stack([loss.float(), torch.full_like(loss, self.global_step, dtype=torch.float32)])
        if self.first_bad is None:
            self.first_bad = newest
        self.first_bad = torch.where(torch.isfinite(self.first_bad[0]), newest, self.first_bad)
        if self.device.type == "cpu" or self.global_step % CHECK_EVERY == 0:
            self.check_loss()

    def check_loss(self) -> None:
        """Stop the run if a loss was not finite.

        Raises:
            RunFailed: names phase, epoch, step and learning rate.
        """
        if self.first_bad is None or torch.isfinite(self.first_bad[0]):
            return
        loss, step = self.first_bad.tolist()
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        raise RunFailed(
            f"phase {self.name}, epoch {self.current_epoch + 1}, step {step:.0f}: the training loss is {loss} at "
            f"learning rate {rate:.3g}: it diverged. Lower optimizer.lr, or set hardware.clip=1, or "
            "hardware.precision=32. The last good checkpoint is kept."
        )

    @property
    def epochs(self) -> int:
        return int(self.trainer.max_epochs or 0)

    def read_meters(self, meter: str) -> dict[str, float]:
        """Mean loss and accuracy since the last call, over all processes."""
        values = {}
        for name, metric in self.meters[meter].items():
            values[name] = float(metric.compute())
            metric.reset()
        return values

    def configure_optimizers(self) -> Any:
        from timm.scheduler import create_scheduler_v2

        optimizer = instantiate.build("optimizer", self.settings.optimizer, self.groups)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        epochs = self.epochs
        updates = max(1, round(self.trainer.estimated_stepping_batches / epochs))
        scheduler, _ = create_scheduler_v2(
            optimizer,
            num_epochs=epochs,
            step_on_epochs=False,
            updates_per_epoch=updates,
            **self.settings.scheduler,
        )
        if scheduler is None:
            return optimizer
        step_schedule(scheduler, 0)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        step_schedule(scheduler, self.trainer.global_step)
