"""Calibration: how often a network is right when it says how sure it is (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.evaluation.metrics import ECE_BINS, calibration_gaps, confidence_bins
from headstart.report.study.read import Run

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Reliability:
    """A row's test images of all seeds by confidence: counts, mean confidence and accuracy of each bin [15].

    Means are NaN in an empty bin. `error` is the expected calibration error of the pooled images; a table's ECE is
    the mean over seeds, which is never smaller.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def reliability(runs: Sequence[Run]) -> Reliability | None:
    """Pool the runs' test images; None where one has no readable predictions or gives no probabilities."""
    import numpy as np

    known = [run.answers for run in runs if run.answers is not None and run.answers.confidence is not None]
    if not known or len(known) < len(runs):
        return None
    sure = np.concatenate([one.confidence for one in known if one.confidence is not None])
    right = np.concatenate([one.right for one in known])
    bins = confidence_bins(sure)
    counts = np.bincount(bins, minlength=ECE_BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, weights=sure, minlength=ECE_BINS) / counts
        accuracy = np.bincount(bins, weights=right, minlength=ECE_BINS) / counts
    error = float(np.abs(calibration_gaps(sure, right)).sum() / len(right))
    return Reliability(counts, confidence, accuracy, error)
