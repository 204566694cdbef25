"""What a run observes besides its accuracy, named under ``measures``: a study asks for what its question needs.

A measure has two occasions: `Measure.watch`, while a phase learns by gradient, and `Measure.tested`, once, after the
test. What it finds is a CSV file in the run's folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart import ranks
from headstart.errors import UserError
from headstart.files import write_text

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.data.loading import Pixels


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
        return _GradientWatch(context.model, context.run.folder / self.FILE, phase) if ranks.leads() else None


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
    """Test accuracy of images that were moved, scaled, or drawn thicker and thinner: ``changes.csv``.

    Columns: change, size, accuracy (a share of 1). What leaves the image is lost, and its border is continued.

    Args:
        shift: how far, as shares of the side; the accuracy is the mean over left, right, up and down.
        scale: factors about the centre.
        stroke: by how many pixels a bright stroke on dark ground grows on each side (below 0: shrinks).
    """

    FILE = "changes.csv"

    def __init__(self, shift: Sequence[float] = (), scale: Sequence[float] = (), stroke: Sequence[int] = ()) -> None:
        for name, sizes, low, high in (("shift", shift, 0, 1), ("scale", scale, 0.05, 20), ("stroke", stroke, -99, 99)):
            for size in sizes:
                whole = name != "stroke" or isinstance(size, int)
                if not isinstance(size, int | float) or not whole or not low <= size <= high:
                    kind = "whole numbers" if name == "stroke" else "numbers"
                    raise UserError(f"{name}={list(sizes)}: must be {kind} from {low} to {high}")
        self.sizes: dict[str, Sequence[float]] = {"shift": shift, "scale": scale, "stroke": stroke}

    def tested(self, context: Context, logits: Callable[[Pixels], Tensor]) -> None:
        from headstart.data.loading import Pixels

        test = context.data.test
        rows = []
        for change, sizes in self.sizes.items():
            for size in sizes:
                shares = []
                for images in changed(test.images, change, size):
                    found = logits(Pixels(images, test.labels, test.ids, test.names)).argmax(1)
                    shares.append(float((found.cpu() == test.labels).double().mean()))
                rows.append({"change": change, "size": size, "accuracy": sum(shares) / len(shares)})
        if ranks.leads():
            _write(context.run.folder / self.FILE, rows)


def changed(images: Tensor, change: str, size: float) -> Iterable[Tensor]:
    """Images uint8 [n, 3, S, S] under a change; a shift comes in its four directions."""
    if change == "shift":
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)) if size else ((0, 0),):
            yield _moved(images, 1.0, 2 * size * right, 2 * size * down)
    elif change == "scale":
        yield _moved(images, size, 0.0, 0.0)
    else:
        yield _stroked(images, int(size))


def _moved(images: Tensor, factor: float, right: float, down: float) -> Tensor:
    """Scaled about the centre, then moved; in units of half a side."""
    grid_of = torch.tensor([[1 / factor, 0.0, -right / factor], [0.0, 1 / factor, -down / factor]])
    parts = []
    for part in images.split(256):
        grid = functional.affine_grid(grid_of.expand(len(part), 2, 3), list(part.shape), align_corners=False)
        moved = functional.grid_sample(part.float(), grid, padding_mode="border", align_corners=False)
        parts.append(moved.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


def _stroked(images: Tensor, pixels: int) -> Tensor:
    """Grey-scale dilation with a square of side 2 ``pixels`` + 1; below 0: erosion."""
    sign = 1.0 if pixels >= 0 else -1.0
    side = 2 * abs(pixels) + 1
    parts = [
        sign * functional.max_pool2d(sign * part.float(), side, stride=1, padding=side // 2)
        for part in images.split(256)
    ]
    return torch.cat(parts).to(torch.uint8)


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
