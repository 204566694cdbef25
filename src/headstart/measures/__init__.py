"""Measures: what a run records in addition to its accuracy; a config names one by `_target_: headstart.measures.…`."""

from headstart.measures.corruptions import Changes
from headstart.measures.gradients import GradientNorms
from headstart.measures.measure import Measure

__all__ = ["Changes", "GradientNorms", "Measure"]
