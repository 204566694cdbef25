"""The callback that has a phase's best weights kept, saves checkpoints and writes curves while the phase trains."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl

from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.runtime import signals
from headstart.tracking import progress
from headstart.training.best import BestWeights
from headstart.training.module import PhaseModule

if TYPE_CHECKING:
    from headstart.data.batches import Batches
    from headstart.search.prune import Pruner, Verdict
    from headstart.tracking.logger import RunLog

log = logging.getLogger(__name__)

NOT_DUE, DUE = 0, -1  # sent by rank 0 between two steps: whether a checkpoint is due; above 0, a signal to stop


class PhaseMonitor(pl.Callback):
    """Offers each epoch to `BestWeights`, saves checkpoints, writes the curves, and logs the progress.

    A fitted state that the phase starts from is validated before the first step (as Lightning's "sanity check", over
    all validation images) and offered as epoch 0: a phase never hands on less than it was given.

    A checkpoint is written between two steps when `checkpoint_every` seconds have passed, and when a stop is requested,
    after which the run stops.

    Args:
        best: the best weights; checkpoints are saved beside their file.
        batches: the training loader's sampler; after a resume it skips the batches that are done.
        raise_if_lost: raises if another process has taken the run over: this one must not write into its files.
        pruner: asked after each epoch whether the run is to go on.
    """

    def __init__(
        self,
        *,
        phase: str,
        best: BestWeights,
        run_log: RunLog,
        batches: Batches,
        checkpoint_every: float,
        raise_if_lost: Callable[[], None],
        pruner: Pruner | None = None,
    ) -> None:
        self.phase, self.best, self.folder, self.run_log = phase, best, best.path.parent, run_log
        self.batches, self.checkpoint_every, self.raise_if_lost = batches, checkpoint_every, raise_if_lost
        self.pruner = pruner
        self.verdict: Verdict | None = None  # why the run was pruned
        self.epochs = 0
        self.has_begun = False  # a checkpoint, if there was one, has been restored completely
        self.start: dict[str, float | None] = {}  # validation scores of the state that the phase starts from
        self.logged_at, self.epoch_began = 0.0, 0.0
        self.position: dict[str, int] = {}  # the epoch and the batches done, for the checkpoint that is being written
        self.began = self.saved = time.monotonic()
        self.work = progress.Task(phase, unit="batches")  # for the console; `gradient` shows it
        self.earlier_seconds = 0.0  # seconds that this phase took before it was interrupted

    @property
    def seconds(self) -> float:
        """The time of this phase, over all attempts."""
        return self.earlier_seconds + time.monotonic() - self.began

    def state_dict(self) -> dict[str, Any]:
        spent = time.monotonic() - self.epoch_began
        return {"start": self.start, "seconds": self.seconds, "epoch_seconds": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.start, self.earlier_seconds = state_dict["start"], state_dict["seconds"]
        self.epoch_began = time.monotonic() - state_dict["epoch_seconds"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["position"], checkpoint["best"] = self.position, self.best.pack()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.best.unpack(checkpoint["best"])
        position = checkpoint["position"]
        self.batches.epoch, self.batches.skip = position["epoch"], position["batches"]
        log.info(
            "  %s  goes on from epoch %d, %d of %d batches done",
            self.phase,
            position["epoch"] + 1,
            position["batches"],
            len(self.batches),
        )
        self.work.done = self.work.skipped = position["epoch"] * len(self.batches) + position["batches"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_begun = True

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Offer the state that the phase starts from as epoch 0; not called if that is new, or the phase is resumed."""
        assert isinstance(pl_module, PhaseModule)
        checked = pl_module.validation
        known = math.isfinite(checked["loss"])  # a random start may overflow
        self.start = {"val_accuracy": checked["accuracy"], "val_loss": checked["loss"] if known else None}
        if known:
            self.best.offer(0, checked)
        log.info("  %s  start  |  val loss %.3f  acc %.1f %%", self.phase, checked["loss"], 100 * checked["accuracy"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_began = time.monotonic()  # not called when an epoch is resumed in its middle
        self.work.what = f"{self.phase}, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        self.work.done = trainer.current_epoch * int(trainer.num_training_batches) + done
        if done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0:
            self._finish_step(trainer, batches=done, epoch=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PhaseModule)
        pl_module.check_loss()  # before anything of this epoch is saved
        self.raise_if_lost()
        learned, checked = pl_module.read_meters("learn"), pl_module.validation
        if not math.isfinite(checked["loss"]):
            raise RunFailed(
                f"phase {self.phase}, epoch {trainer.current_epoch + 1}: the validation loss is {checked['loss']}: it "
                "diverged. Lower optimizer.lr, or set hardware.precision=32. The last good weights are kept."
            )
        epoch, now = trainer.current_epoch, time.monotonic()
        self.epochs = epoch + 1
        self._record(trainer, learned, checked, now - self.epoch_began)
        self.best.offer(self.epochs, checked)
        if self.best.is_overdue(self.epochs) or self._is_pruned():
            trainer.should_stop = True
        last = trainer.should_stop or epoch + 1 == pl_module.epochs
        if now - self.logged_at > 2 or last:
            self.logged_at = now
            self._log_epoch(trainer, learned, checked, now - self.epoch_began)
        if trainer.should_stop and epoch + 1 < pl_module.epochs and self.verdict is None:
            log.info("  %s  stopped early: the best epoch is %d", self.phase, self.best.epoch)
        if last and self.best.epoch == 0 and self.verdict is None:
            self._warn_of_no_gain()
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

    def _is_pruned(self) -> bool:
        """Ask after an epoch whether the run is to end here; the first process decides for all."""
        if self.pruner is not None:
            self.verdict = comm.all_gather(self.pruner.judge(self.epochs) if comm.is_first() else None)[0]
        return self.verdict is not None

    def _warn_of_no_gain(self) -> None:
        log.warning(
            "  %s  none of its %d epochs was better on validation (%s) than the start: accuracy %.1f %%, loss %.3f. "
            "The phase changes nothing: the weights that it started from are kept. Try a lower optimizer.lr, or more "
            "epochs",
            self.phase,
            self.epochs,
            self.best.select,
            100 * (self.start["val_accuracy"] or 0),
            self.start["val_loss"],
        )

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
        self.raise_if_lost()
        self.position = {"epoch": epoch, "batches": batches}
        trainer.save_checkpoint(self.folder / str(trainer.global_step))
        self.saved = time.monotonic()
        if stop != DUE:
            raise signals.Stopped(stop)
