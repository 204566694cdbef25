"""Probes: heads fitted on features over a whole grid of values at once, the value chosen on validation data.

A probe is anything with `fit(train_x, train_y, val_x, val_y, classes, weights=None, *, parts, seed) -> ProbeFit`, and
`smoothing` where it says `smooths = True`; a strategy file names it by `_target_`.
"""

from headstart.probe.base import Probe, ProbeFit, Targets
from headstart.probe.knn import NearestNeighbours
from headstart.probe.linear import GRID, Logistic
from headstart.probe.ridge import Ridge
from headstart.probe.sgd import LinearHeads

__all__ = ["GRID", "LinearHeads", "Logistic", "NearestNeighbours", "Probe", "ProbeFit", "Ridge", "Targets"]
