"""Lightning's trainer for one phase, and its way to disk and back."""

import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import CheckpointIO

from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.runtime import hardware
from headstart.storage import checkpoints
from headstart.storage.records import make_damage_error
from headstart.training.lightning_internals import leave_signals_alone

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig


class VerifiedCheckpoints(CheckpointIO):
    """Lightning's way to disk and back, through `headstart.storage.checkpoints`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        bad = [name for name, value in checkpoint["state_dict"].items() if not torch.isfinite(value).all()]
        if bad:
            raise RunFailed(f"the weights are not finite any more ({bad[0]}): training diverged; lower optimizer.lr")
        checkpoints.write(Path(path).parent, int(Path(path).name), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise RunFailed(
                f"{path} holds more than plain tensors and numbers, and is not read: headstart did not write it. "
                "Delete it, and start the same command again"
            ) from error
        if "best" not in state:
            raise make_damage_error(Path(path), "it holds no best weights")
        return state

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def make_trainer(config: "HardwareConfig", epochs: int, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer for one phase; curves and checkpoints are ours, so its own are off."""
    import warnings

    ignored = (
        "does not have many workers",
        "smaller than the logging interval",
        "in eval mode at the start of training",
        "LeafSpec",
        "have no `val_dataloader`",  # in a range test of the learning rate
        "dataloader is not resumable",  # ours is: `PhaseMonitor` tells its sampler where to go on
    )
    for message in ignored:
        warnings.filterwarnings("ignore", module="pytorch_lightning", message=f".*{message}.*")
    # on a machine with Slurm, where headstart starts its processes itself
    warnings.filterwarnings("ignore", module="lightning_fabric", message="The `srun` command is available")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    plugins: list[Any] = [VerifiedCheckpoints()]
    if comm.world_size() == 1:  # else Lightning takes a job of Slurm's for its own, and asks for its number of tasks
        plugins.append(LightningEnvironment())
    made = pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if comm.world_size() > 1 else "auto",
        precision=cast(Any, hardware.lightning_precision(config)),
        max_epochs=epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip,
        callbacks=callbacks,
        plugins=plugins,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    leave_signals_alone(made)
    return made
