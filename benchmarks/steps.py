"""One training speed, in a process of its own: headstart's whole way through Lightning, or timm's plain step.

Command:   python -m benchmarks.steps ours OVERRIDE…    or    python -m benchmarks.steps timm NETWORK
Expected:  a last line of JSON with images_per_second, the median over an epoch's steps.

`ours` is what `headstart train OVERRIDE…` does, from the config to `result.json`, with a clock among Lightning's
callbacks: from the end of one step to the end of the next. So fetching the batch, normalising it, the metrics and
headstart's own callbacks count, and validation does not. `timm` is the step of timm's own training script at its
defaults, on a batch that is there already: float32, contiguous, eager.
"""

import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

CLASSES, SIDE, BATCH = 10, 96, 50
LR, WEIGHT_DECAY = 1e-3, 0.01  # of AdamW on both sides
WARM, TIMED = 2, 8  # steps


def ours(overrides: list[str]) -> dict[str, Any]:
    """Images/s of the steps of a run, its hardware block, and what features cost."""
    import pytorch_lightning as pl

    import headstart
    from headstart.training import gradient

    class Clock(pl.Callback):
        """When the steps of full batches ended, by epoch; on a GPU only the first and the last wait for it."""

        def __init__(self, batch_size: int) -> None:
            self.batch_size = batch_size
            self.ends: list[list[float]] = []

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.ends.append([])

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if len(batch[1]) != self.batch_size:
                return
            last = len(trainer.train_dataloader.dataset) // self.batch_size - 1
            if module.device.type == "cuda" and batch_idx in (0, last):
                torch.cuda.synchronize()
            self.ends[-1].append(time.perf_counter())

        def seconds(self, on_gpu: bool) -> float:
            """Of a step: the median; on a GPU, whose steps overlap, the median of the later epochs' means."""
            if on_gpu:
                return median((ends[-1] - ends[0]) / (len(ends) - 1) for ends in self.ends[WARM:])
            taken = [after - before for before, after in pairwise(self.ends[-1])]
            return median(taken[WARM:] if len(self.ends) == 1 else taken)

    config = headstart.compose(overrides)
    clock, make_trainer = Clock(config.data.batch_size), gradient.make_trainer

    def make_timed_trainer(config: Any, epochs: int, folder: Path, callbacks: list[Any]) -> Any:
        return make_trainer(config, epochs, folder, [*callbacks, clock])

    gradient.make_trainer = make_timed_trainer
    with tempfile.TemporaryDirectory() as place:
        result = headstart.run([*overrides, f"output_dir={place}", "logger=csv"])
    return {
        "images_per_second": config.data.batch_size / clock.seconds(config.hardware.accelerator == "gpu"),
        "images": result["n_train"],
        "extraction": result["seconds"]["features"],
        "hardware": result["hardware"],
    }


def timm(name: str) -> dict[str, Any]:
    """Images/s of the plain step: forward, cross-entropy, backward, AdamW."""
    from timm import create_model
    from timm.optim import create_optimizer_v2

    from headstart.models import architectures  # noqa: F401

    torch.manual_seed(0)
    model = create_model(name, num_classes=CLASSES).train()
    optimizer = create_optimizer_v2(model, "adamw", lr=LR, weight_decay=WEIGHT_DECAY)
    images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.randint(CLASSES, (BATCH,))
    taken = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        taken.append(time.perf_counter() - began)
    return {"images_per_second": BATCH / median(taken[WARM:])}


def main() -> None:
    """Measure what the command line names, with as many threads as the environment gives."""
    os.environ.setdefault("WANDB_MODE", "disabled")
    side, *rest = sys.argv[1:]
    print(json.dumps(ours(rest) if side == "ours" else timm(*rest)), flush=True)


if __name__ == "__main__":
    main()
