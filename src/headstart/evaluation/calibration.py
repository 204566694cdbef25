"""The temperature of a run: by it the logits are divided, so that probabilities say how often they are right.

It is one number, fitted on validation images and reported on test images (Guo et al. 2017, arXiv:1706.04599). It
changes no order of the classes, and so no accuracy. A run's predictions.csv and predictions.npz hold the probabilities
without it; `headstart predict --calibrated` and ONNX graphs of `headstart export` apply it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.evaluation import metrics
from headstart.probe.temperature import fit_scale

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("nll", "ece")
REFITTED = (
    "its head was refitted on its validation images (refit: true), so no image is left that it has not learnt from: "
    "train it with refit=false for calibrated probabilities"
)
SCORES = "its fitted head gives scores that are no probabilities"

Part = tuple["Tensor", "Tensor"]  # scores [n, classes] and labels [n]


def calibrate(val: Part | None, test: Part, probabilities: bool) -> dict[str, Any]:
    """Fit the temperature; returns what `calibration` of result.json holds.

    Args:
        val: of validation images; None if the head was refitted on them.
        probabilities: whether the softmax of the scores gives probabilities.

    Returns:
        `temperature`, the number of images `n` that it was fitted on, and `nll` and `ece` of both parts with it (those
        without it stand in `val` and `test` of result.json); or None as temperature, and `why` there is none.
    """
    if not probabilities:
        return {"temperature": None, "why": SCORES}
    if val is None:
        return {"temperature": None, "why": REFITTED}
    temperature = 1 / fit_scale(val[0].detach().cpu().float(), val[1].cpu().long())
    found: dict[str, Any] = {"temperature": temperature, "n": len(val[1])}
    for name, (scores, labels) in {"val": val, "test": test}.items():
        numbers = metrics.evaluate(scores.detach().cpu().float() / temperature, labels)
        found[name] = {key: numbers[key] for key in NAMES}
    return found
