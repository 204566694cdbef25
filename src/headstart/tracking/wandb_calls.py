"""The calls that fill a W&B run; they are made in the thread of `headstart.tracking.wandb_run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.tracking.tracker import Pictures

BEST = {"val/accuracy": "max", "val/loss": "min", "train/accuracy": "max", "train/loss": "min"}


def define_curves(run: Any) -> None:
    """Draw all curves over `epoch`, and keep each curve's best value in the summary, not its last."""
    run.define_metric("epoch", hidden=True)
    run.define_metric("*", step_metric="epoch")
    for name, summary in BEST.items():
        run.define_metric(name, step_metric="epoch", summary=summary)


def log_point(run: Any, epoch: int, point: Mapping[str, float]) -> None:
    """Log an epoch at the step of its number, at once."""
    run.log({**point, "epoch": epoch}, step=epoch, commit=True)


def log_pictures(run: Any, pictures: Pictures) -> None:
    """Log the confusion matrix, a table of mistakes, and the curve by which the learning rate was found."""
    import numpy as np
    import wandb

    table = wandb.Table(columns=["image", "name", "true", "predicted", "confidence"])
    for place, row in enumerate(pictures.mistakes):
        pixels = None if pictures.pixels is None else pictures.pixels[place]
        picture = None if pixels is None else wandb.Image(np.asarray(pixels).transpose(1, 2, 0))
        names = pictures.classes[row["label"]], pictures.classes[row["predicted"]]
        table.add_data(picture, row["name"], *names, row["confidence"])
    shown = {"test/confusion": wandb.Image(str(pictures.confusion)), "test/mistakes": table}
    if pictures.range_test is not None:
        shown["learning_rate/range_test"] = wandb.Image(str(pictures.range_test))
    run.log(shown)
