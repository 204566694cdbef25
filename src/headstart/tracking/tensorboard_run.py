"""A run in TensorBoard: event files in the run's folder, `tensorboard --logdir outputs/STUDY` shows a study."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.tracking.tracker import PATIENCE, About, Pictures, State


class TensorboardRun:
    """Writes `folder`/tensorboard: curves over the epoch, final numbers at epoch 0, settings as hyperparameters."""

    name, patience = "tensorboard", PATIENCE

    def __init__(self, folder: Path, about: About) -> None:
        self._folder, self._about = folder / "tensorboard", about
        self._final: dict[str, float] = {}

    def load(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401

    def open(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = SummaryWriter(str(self._folder), flush_secs=10)
        self.describe(self._about.config)

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        for name, value in point.items():
            self._writer.add_scalar(name, value, epoch)

    def describe(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            self._writer.add_text(f"config/{name}", f"    {value}".replace("\n", "\n    "))

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        for name, value in numbers.items():
            if isinstance(value, int | float):
                self._final[name] = float(value)
                self._writer.add_scalar(name, value, 0)
            elif value is not None:
                self._writer.add_text(name, str(value))

    def show(self, pictures: Pictures) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(pictures.confusion) as picture:
            self._writer.add_image("test/confusion", np.asarray(picture.convert("RGB")), dataformats="HWC")

    def close(self, state: State) -> None:
        from torch.utils.tensorboard.summary import hparams

        settings = {name: _make_scalar(value) for name, value in self._about.config.items()}
        writer: Any = self._writer.file_writer
        for summary in hparams(settings, self._final):
            writer.add_summary(summary)
        self._writer.add_text("status", state)
        self._writer.close()


def _make_scalar(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
