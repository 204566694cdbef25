"""What a run observes besides its accuracy; a config names a measure by ``_target_: headstart.measures.…``."""

from headstart.measures.measure import Changes, GradientNorms, Measure

__all__ = ["Changes", "GradientNorms", "Measure"]
