"""What training a run took in multiply-adds, as far as its result says."""

from collections.abc import Mapping
from typing import Any

from headstart.report.study.read import Run

BACKWARD = 2  # a backward pass through what learns costs twice the forward pass: activations' and weights' gradients


def training_gmacs(run: Run) -> float | None:
    """Multiply-adds of training and validation, in units of 10^9; None where the result does not say enough.

    GMACs per image x (images that went through the backbone, but for the test set's, + 2 x images of gradient
    steps in which the whole network learned). Fitting a head on features is not counted.
    """
    each, forwards, tested = (run.number(path) for path in ("gmacs", "backbone_forwards", "n_test"))
    if each is None or forwards is None or tested is None:
        return None
    return each * (forwards - tested + BACKWARD * sum(_count_learned(run, phase) or 0.0 for phase in _phases(run)))


def is_lower_bound(run: Run) -> bool:
    """Whether more was computed than is counted: a backward pass through a part of the network, or its rest's
    training on features of its first layers.
    """
    return any(_count_learned(run, phase) is None for phase in _phases(run))


def _phases(run: Run) -> list[Any]:
    phases = run.result.get("phases")
    return phases if isinstance(phases, list) else [None]


def _count_learned(run: Run, phase: Any) -> float | None:
    """Images that went back through the whole network in a phase; None where a part of it learned, or nobody knows."""
    if not isinstance(phase, Mapping):
        return None
    if phase.get("kind") in ("probe", "features"):
        return 0.0 if phase.get("cut_at") == "head" else None
    start = f"strategy.phases.{phase.get('name')}.rates."
    rates = [value for key, value in (run.config or {}).items() if key.startswith(start)]
    epochs, images = phase.get("epochs"), run.number("n_train")
    if not rates or None in rates or not isinstance(epochs, int) or images is None:
        return None
    return epochs * images
