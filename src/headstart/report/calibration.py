"""Calibration: how often a network is right when it says how sure it is (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.evaluation.metrics import ECE_BINS, calibration_gaps, confidence_bins
from headstart.report.columns import percent
from headstart.report.groups import Group
from headstart.report.study import Run
from headstart.report.style import Palette, shorten
from headstart.tracking.plot_style import MUTED, RULE, save, sheet

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


def draw_reliability(group: Group, found: Reliability, title: str, palette: Palette, path: Path) -> Path:
    """Draw accuracy against confidence, bin by bin, over a histogram of the images' confidence."""
    colour = palette.colour(group)
    figure = sheet(4.0, 4.5)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    places = [place for place in range(ECE_BINS) if found.counts[place]]
    x = [100 * float(found.confidence[place]) for place in places]
    y = [100 * float(found.accuracy[place]) for place in places]
    axes.vlines(x, x, y, color=colour, linewidth=5, alpha=0.22, zorder=2)
    axes.plot(x, y, color=colour, linewidth=1.4, zorder=3)
    for across, up, place in zip(x, y, places, strict=True):
        few = found.counts[place] < 0.01 * found.counts.sum()
        axes.plot(
            [across],
            [up],
            palette.mark(group),
            color=colour,
            markerfacecolor="white" if few else colour,
            markersize=6,
            zorder=4,
        )
    axes.set_xlim(-2, 102)
    axes.set_ylim(-3, 103)
    axes.set_ylabel("accuracy, %", color=MUTED)
    axes.set_title(shorten(title, 40))
    axes.text(4, 95, _legend(group, found), va="top", fontsize=9.5)
    share = 100 * found.counts / found.counts.sum()
    edges = [100 * place / ECE_BINS for place in range(ECE_BINS)]
    below.bar(edges, share, width=0.88 * 100 / ECE_BINS, align="edge", color=colour, alpha=0.75)
    below.set_ylabel("images, %", color=MUTED)
    below.set_xlabel("confidence, %", color=MUTED)
    for part in (axes, below):
        part.grid(axis="both", color=RULE)
        part.tick_params(length=0)
    return save(figure, path)


def _legend(group: Group, found: Reliability) -> str:
    seeds = group.over_runs(lambda run: run.number("test.ece"))
    pooled = f"ECE {percent(found.error)} %"
    if seeds is None or len(group.runs) == 1:
        return pooled
    return f"{pooled} pooled\nECE {percent(seeds.mean)} % mean of seeds"
