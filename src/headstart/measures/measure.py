"""What a run observes besides its accuracy, named under ``measures``: a study asks for what its question needs.

A measure has two occasions: `Measure.watch`, while a phase learns by gradient, and `Measure.tested`, once, after the
test. What it finds is a CSV file in the run's folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from headstart.distributed import comm
from headstart.measures import corruptions
from headstart.storage.files import write_text

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.data.loader import Pixels


class Measure:
    """Both occasions, at which a measure does nothing unless it says otherwise."""

    def watch(self, context: Context, phase: str) -> pl.Callback | None:
        """A callback for the phase that is about to learn."""
        return None

    def tested(self, context: Context, logits: Callable[[Pixels], Tensor]) -> None:
        """The run has been tested; ``logits`` [n, classes] of other images are to be had."""


class GradientNorms(Measure):
    """How large the gradient of each layer's weights is: ``gradients.csv``, a row an epoch and layer.

    Columns: phase, epoch, layer (1 is nearest the input), name, rms (root of the mean square of the gradient's
    elements). It is that of an epoch's last step, before clipping, so a resumed run writes the same rows.
    """

    FILE = "gradients.csv"

    def watch(self, context: Context, phase: str) -> pl.Callback | None:
        return _GradientWatch(context.model, context.run.folder / self.FILE, phase) if comm.is_first() else None


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
        kept = [row for row in _read(self.path) if (row["phase"], int(row["epoch"])) != (self.phase, epoch)]
        _write(self.path, [*kept, *rows])


class Changes(Measure):
    """Test accuracy of images that were changed after training on clean ones: ``changes.csv``.

    Columns: change, size, accuracy (a share of 1). What leaves the image is lost, and its border is continued. Images
    are changed at the size at which they are kept, before the centre crop. The kinds are some of Hendrycks &
    Dietterich's (2019); their sizes are given here, and are not the severities of ImageNet-C.

    Args:
        shift: how far, as shares of the side; the accuracy is the mean over left, right, up and down.
        scale: factors about the centre.
        rotation: degrees; the accuracy is the mean over both directions.
        stroke: by how many pixels a bright stroke on dark ground grows on each side (below 0: shrinks).
        noise: standard deviations of Gaussian noise, as shares of the range of values; grey images get grey noise.
        blur: standard deviations of a Gaussian, as shares of the side.
        contrast: factors about an image's mean value.
        brightness: what is added, as shares of the range of values.
        seed: of the noise, which is the same in all runs.
    """

    FILE = "changes.csv"

    def __init__(
        self,
        shift: Sequence[float] = (),
        scale: Sequence[float] = (),
        rotation: Sequence[float] = (),
        stroke: Sequence[int] = (),
        noise: Sequence[float] = (),
        blur: Sequence[float] = (),
        contrast: Sequence[float] = (),
        brightness: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        self.sizes: dict[str, Sequence[float]] = {
            "shift": shift,
            "scale": scale,
            "rotation": rotation,
            "stroke": stroke,
            "noise": noise,
            "blur": blur,
            "contrast": contrast,
            "brightness": brightness,
        }
        for change, sizes in self.sizes.items():
            corruptions.check_sizes(change, sizes)
        self.seed = seed

    def tested(self, context: Context, logits: Callable[[Pixels], Tensor]) -> None:
        from headstart.data.loader import Pixels

        test = context.data.test
        rows = []
        for change, sizes in self.sizes.items():
            for size in sizes:
                shares = []
                for images in corruptions.corrupt(test.images, change, size, self.seed):
                    found = logits(Pixels(images, test.labels, test.ids, test.names)).argmax(1)
                    shares.append(float((found.cpu() == test.labels).double().mean()))
                rows.append({"change": change, "size": size, "accuracy": sum(shares) / len(shares)})
        if comm.is_first():
            _write(context.run.folder / self.FILE, rows)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
