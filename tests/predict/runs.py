"""Small real runs on digits that lie in files, one of each kind of head; a process makes each once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from conftest import SMALL, compose

PROBE = "strategy.phases.head.probe"
FITTED = ("strategy=feature_extraction",)
KINDS = {
    "fine-tuned": ("strategy=finetune", "epochs=1"),
    "fitted": FITTED,
    "neighbours": (*FITTED, "head=knn"),
    "stages": (*FITTED, "head=knn", f"+{PROBE}.layers=[-1,-2]", f"+{PROBE}.poolings=[avg]"),
    "cached inside": ("strategy=partial", "epochs=1"),
    "ridge on stages": (*FITTED, "head=ridge", f"+{PROBE}.layers=[-2]", f"+{PROBE}.poolings=[avg]"),
}
_scratch = TemporaryDirectory(prefix="headstart-predict-")


def write_digits(folder: Path, each: int = 12, *, bits: int = 8) -> Path:
    """Write `each` digits of each class as PNG files, in a folder of their class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        for at in np.flatnonzero(digits.target == label)[:each].tolist():
            pixels = digits.images[at] * (15 if bits == 8 else 255)  # 0 … 240, or 0 … 4080
            image = Image.fromarray(pixels.astype(np.uint8 if bits == 8 else np.uint16))
            image.resize((40, 32), Image.Resampling.NEAREST).save(folder / str(label) / f"{at:04}.png")
    return folder


def digits(bits: int = 8) -> Path:
    """The folder of the digits that the runs were trained on."""
    return _digits(bits)


@cache
def _digits(bits: int) -> Path:
    return write_digits(Path(_scratch.name) / f"digits{bits}", bits=bits)


@cache
def make_run(kind: str, *more: str, bits: int = 8) -> Any:
    """Run a kind of experiment; returns its result, with its folder."""
    from headstart import train

    source = ("data=image_folder", f"data.source.root={digits(bits)}")
    overrides = (
        *source,
        *SMALL,
        "data.test_fraction=0.4",
        *KINDS[kind],
        f"output_dir={Path(_scratch.name) / 'outputs'}",
        *more,
    )
    return train.run(compose(*overrides), list(overrides))
