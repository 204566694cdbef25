"""The callback that saves a phase's best weights and checkpoints and writes its curves while it trains."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
from torch import nn

from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.models import weights
from headstart.runtime import signals
from headstart.training.module import PhaseModule

if TYPE_CHECKING:
    from headstart.data.batches import Batches
    from headstart.tracking.logger import RunLog

log = logging.getLogger(__name__)

NOT_DUE, DUE = 0, -1  # sent by rank 0 between two steps: whether a checkpoint is due; above 0, a signal to stop


class PhaseMonitor(pl.Callback):
    """Saves the weights of the best epoch and the checkpoints, writes the curves, and logs the progress.

    A checkpoint is written between two steps when `checkpoint_every` seconds have passed, and when a stop is requested,
    after which the run stops.

    Args:
        model: the whole network, all of whose weights are saved.
        folder: of the phase, for the best weights and the checkpoints.
        batches: the training loader's sampler; after a resume it skips the batches that are done.
        select: `val_accuracy` (of equals the lower `val_loss`) or `val_loss`.
        with_saved_weights: inside this context the network has the weights to save, if these are not the ones that
            learn.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        phase: str,
        select: str,
        folder: Path,
        run_log: RunLog,
        batches: Batches,
        checkpoint_every: float,
        with_saved_weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model, self.phase, self.select, self.folder, self.run_log = model, phase, select, folder, run_log
        self.batches, self.checkpoint_every, self.with_saved_weights = batches, checkpoint_every, with_saved_weights
        self.epochs = 0
        self.has_begun = False  # a checkpoint, if there was one, has been restored completely
        self.best: tuple[float, float] | None = None
        self.best_epoch, self.logged_at, self.epoch_began = -1, 0.0, 0.0
        self.position: dict[str, int] = {}  # the epoch and the batches done, for the checkpoint that is being written
        self.began = self.saved = time.monotonic()
        self.earlier_seconds = 0.0  # seconds that this phase took before it was interrupted

    @property
    def seconds(self) -> float:
        """The time of this phase, over all attempts."""
        return self.earlier_seconds + time.monotonic() - self.began

    def state_dict(self) -> dict[str, Any]:
        best = None if self.best is None else list(self.best)
        spent = time.monotonic() - self.epoch_began
        return {"best": best, "best_epoch": self.best_epoch, "seconds": self.seconds, "epoch_seconds": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        self.best = None if best is None else (best[0], best[1])
        self.best_epoch, self.earlier_seconds = state_dict["best_epoch"], state_dict["seconds"]
        self.epoch_began = time.monotonic() - state_dict["epoch_seconds"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["position"] = self.position

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        position = checkpoint["position"]
        self.batches.epoch, self.batches.skip = position["epoch"], position["batches"]
        log.info(
            "  %s  goes on from epoch %d, %d of %d batches done",
            self.phase,
            position["epoch"] + 1,
            position["batches"],
            len(self.batches),
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_begun = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_began = time.monotonic()  # not called when an epoch is resumed in its middle

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        if done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0:
            self._finish_step(trainer, batches=done, epoch=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PhaseModule)
        pl_module.check_loss()  # before anything of this epoch is saved
        learned, checked = pl_module.read_meters("learn"), pl_module.validation
        if not math.isfinite(checked["loss"]):
            raise RunFailed(
                f"phase {self.phase}, epoch {trainer.current_epoch + 1}: the validation loss is {checked['loss']}: it "
                "diverged. Lower optimizer.lr, or set hardware.precision=32. The last good weights are kept."
            )
        epoch, now = trainer.current_epoch, time.monotonic()
        self.epochs = epoch + 1
        self._record(trainer, learned, checked, now - self.epoch_began)
        self._keep_if_best(checked)
        last = trainer.should_stop or epoch + 1 == pl_module.epochs
        if now - self.logged_at > 2 or last:
            self.logged_at = now
            self._log_epoch(trainer, learned, checked, now - self.epoch_began)
        if trainer.should_stop and epoch + 1 < pl_module.epochs:
            log.info("  %s  stopped early: the best epoch is %d", self.phase, self.best_epoch)
        if not last:
            self._finish_step(trainer, batches=0, epoch=epoch + 1)

    def _record(
        self, trainer: pl.Trainer, learned: dict[str, float], checked: dict[str, float], seconds: float
    ) -> None:
        """Add the epoch to the curves."""
        rates = [group["lr"] / group["rate"] for group in trainer.optimizers[0].param_groups]
        self.run_log.log_epoch(
            self.phase,
            self.epochs,
            trainer.global_step,
            train_loss=learned["loss"],
            train_accuracy=learned["accuracy"],
            val_loss=checked["loss"],
            val_accuracy=checked["accuracy"],
            lr=rates[0],
            seconds=seconds,
        )

    def _keep_if_best(self, checked: dict[str, float]) -> None:
        score = (checked["accuracy"], -checked["loss"]) if self.select == "val_accuracy" else (-checked["loss"], 0.0)
        if self.best is None or score > self.best:
            self.best, self.best_epoch = score, self.epochs
            if comm.is_first():
                with self.with_saved_weights():
                    weights.save(self.model, self.folder / weights.BEST)

    def _log_epoch(
        self, trainer: pl.Trainer, learned: dict[str, float], checked: dict[str, float], seconds: float
    ) -> None:
        log.info(
            "  %s  epoch %d/%s  train loss %.3f  acc %.1f %%  |  val loss %.3f  acc %.1f %%  |  %.1f s/epoch",
            self.phase,
            self.epochs,
            trainer.max_epochs,
            learned["loss"],
            100 * learned["accuracy"],
            checked["loss"],
            100 * checked["accuracy"],
            seconds,
        )

    def _finish_step(self, trainer: pl.Trainer, *, batches: int, epoch: int) -> None:
        """After an optimizer step: write a checkpoint if one is due, and stop if a stop was requested."""
        due = time.monotonic() - self.saved >= self.checkpoint_every
        stop = comm.broadcast(signals.requested_stop() or (DUE if due else NOT_DUE))
        if stop == NOT_DUE:
            return
        cast(PhaseModule, trainer.lightning_module).check_loss()
        self.position = {"epoch": epoch, "batches": batches}
        trainer.save_checkpoint(self.folder / str(trainer.global_step))
        self.saved = time.monotonic()
        if stop != DUE:
            raise signals.Stopped(stop)
