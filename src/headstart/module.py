"""A phase that learns by gradient, as Lightning sees it; imported only when there is one (Lightning takes seconds)."""

import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from headstart import config as configs
from headstart import hardware, strategy
from headstart.models import weights

if TYPE_CHECKING:
    from headstart.config import RunConfig
    from headstart.logger import RunLog

log = logging.getLogger(__name__)


def random_seed(seed: int, phase: int, epoch: int) -> int:
    """The generator's seed at the start of an epoch: a function of (seed, phase, epoch) and nothing else."""
    text = f"{seed}/{phase}/{epoch}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")


class PhaseModule(pl.LightningModule):
    """What learns in one phase: the whole network on images, or the rest of it on features.

    Args:
        network: takes what ``inputs`` returns, gives logits [n, classes].
        preprocess: uint8 images to the network's input, augmented in training; None where batches are features.
        groups: the optimizer's groups (`headstart.strategy.optimizer_groups`).
        index: the phase's place in the strategy, for the random seeds.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: nn.Module | None,
        groups: list[dict[str, Any]],
        config: "RunConfig",
        index: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.network, self.preprocess, self.groups = network, preprocess, groups
        self.config, self.index = config, index
        self.run_network = torch.compile(network) if config.hardware.compile else network
        self.meters: Any = nn.ModuleDict(
            {
                name: nn.ModuleDict({"loss": MeanMetric(), "accuracy": MulticlassAccuracy(classes, average="micro")})
                for name in ("learn", "check")  # "train" is a method of every module
            }
        )

    def train(self, mode: bool = True) -> "PhaseModule":
        """``train()`` that leaves what is frozen in eval mode, whoever calls it."""
        super().train(mode)
        if mode:
            strategy.train_mode(self.network)
        return self

    def on_train_epoch_start(self) -> None:
        self.train()  # Lightning keeps the modes it finds
        torch.manual_seed(random_seed(self.config.seed, self.index, self.current_epoch))

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return self._step(batch, "learn")

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._step(batch, "check")

    def _step(self, batch: Any, meter: str) -> Tensor:
        inputs, labels = batch[0], batch[1]
        if self.preprocess is not None:
            with torch.autocast(self.device.type, enabled=False):  # crops are computed from coordinates
                inputs = self.preprocess(inputs, train=meter == "learn")
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=hardware.memory_format(self.config.hardware))
        logits = self.run_network(inputs)
        smoothing = self.config.label_smoothing if meter == "learn" else 0.0
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        self.meters[meter]["loss"].update(loss.detach(), len(labels))
        self.meters[meter]["accuracy"].update(logits.detach(), labels)
        return loss

    @property
    def epochs(self) -> int:
        return int(self.trainer.max_epochs or 0)

    def read(self, meter: str) -> dict[str, float]:
        """Mean loss and accuracy since the last reading; over all processes."""
        values = {}
        for name, metric in self.meters[meter].items():
            values[name] = float(metric.compute())
            metric.reset()
        return values

    def configure_optimizers(self) -> Any:
        from timm.scheduler import create_scheduler_v2

        optimizer = configs.build(self.config.optimizer, self.groups)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        epochs = self.epochs
        updates = max(1, round(self.trainer.estimated_stepping_batches / epochs))
        scheduler, _ = create_scheduler_v2(
            optimizer,
            num_epochs=epochs,
            step_on_epochs=False,
            updates_per_epoch=updates,
            **self.config.scheduler,
        )
        if scheduler is None:
            return optimizer
        scheduler.step_update(0)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self.trainer.global_step)


class Keeper(pl.Callback):
    """Keeps the best epoch's weights, writes the curves, and says how it goes.

    Args:
        model: the whole network; its weights are kept, not only what learns.
        better: ``val_accuracy`` (ties: the lower ``val_loss``) or ``val_loss``.
    """

    def __init__(self, model: nn.Module, phase: str, select: str, path: Path, run_log: "RunLog") -> None:
        self.model, self.phase, self.select, self.path, self.run_log = model, phase, select, path, run_log
        self.best: tuple[float, float] | None = None
        self.best_epoch, self.said, self.began = -1, 0.0, 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PhaseModule)
        learned, checked = pl_module.read("learn"), pl_module.read("check")
        epoch, now = trainer.current_epoch, time.monotonic()
        rates = [group["lr"] / group["rate"] for group in trainer.optimizers[0].param_groups]
        self.run_log.epoch(
            self.phase,
            epoch + 1,
            trainer.global_step,
            train_loss=learned["loss"],
            train_accuracy=learned["accuracy"],
            val_loss=checked["loss"],
            val_accuracy=checked["accuracy"],
            lr=rates[0],
            seconds=now - self.began,
        )
        score = (checked["accuracy"], -checked["loss"]) if self.select == "val_accuracy" else (-checked["loss"], 0.0)
        if self.best is None or score > self.best:
            self.best, self.best_epoch = score, epoch + 1
            weights.save(self.model, self.path)
        if now - self.said > 2 or epoch + 1 == trainer.max_epochs:
            self.said = now
            log.info(
                "  %s  epoch %d/%s  train loss %.3f  acc %.1f %%  |  val loss %.3f  acc %.1f %%  |  %.1f s/epoch",
                self.phase,
                epoch + 1,
                trainer.max_epochs,
                learned["loss"],
                100 * learned["accuracy"],
                checked["loss"],
                100 * checked["accuracy"],
                now - self.began,
            )


def trainer(config: "RunConfig", epochs: int, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer for one phase; curves and checkpoints are ours, so its own are off."""
    import warnings

    warnings.filterwarnings("ignore", module="pytorch_lightning", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", module="pytorch_lightning", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", module="pytorch_lightning", message=".*in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", module="pytorch_lightning", message=".*LeafSpec.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return pl.Trainer(
        accelerator=config.hardware.accelerator,
        devices=config.hardware.devices,
        precision=cast(Any, hardware.lightning_precision(config.hardware)),
        max_epochs=epochs,
        accumulate_grad_batches=config.hardware.accumulate,
        gradient_clip_val=config.hardware.clip,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
