"""Probes: heads fitted on features for a whole grid of values at once; validation data decide which value is chosen.

A probe is any object with `fit(train_x, train_y, val_x, val_y, classes, weights=None, *, parts, seed) -> ProbeFit`; if
it has `smooths = True`, `fit` takes `smoothing` too. A strategy file names it by `_target_`.
"""

from headstart.probe.base import Probe, ProbeFit, Targets
from headstart.probe.knn import NearestNeighbours
from headstart.probe.linear import GRID, Logistic
from headstart.probe.ridge import Ridge
from headstart.probe.sgd import LinearHeads

__all__ = ["GRID", "LinearHeads", "Logistic", "NearestNeighbours", "Probe", "ProbeFit", "Ridge", "Targets"]
