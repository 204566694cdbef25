"""The outcome of one phase (what it did and what it cost), and its record in `state.json`."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from headstart.features.extractor import Extraction, Extractor
from headstart.models import weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one phase did and what it cost."""

    phase: str
    kind: str  # the route's name: probe, features (gradient steps on cached features) or images (gradient steps)
    cut_at: str | None
    epochs: int = 0
    images: int = 0  # in gradient steps, counted again in each epoch
    live_forwards: int = 0  # images that went through the whole network in training and validation
    seconds: float  # of fitting, without the extraction of features
    extractions: dict[str, Extraction] = field(default_factory=dict)  # the cost of features, by part of the data
    probabilities: bool = True  # whether the softmax of the logits gives probabilities: not for a ridge head
    details: dict[str, Any] = field(default_factory=dict)
    earlier_seconds: float = 0.0  # the part of all these seconds that earlier attempts spent
    probe_digest: str | None = None  # of the file of a head that is no layer of the network

    def record(self, best: Path) -> dict[str, Any]:
        """The outcome for `state.json`, with the digest of the phase's weights."""
        return asdict(self) | {"weights": weights.digest_file(best)}


@dataclass(frozen=True)
class FittedPhase:
    """A phase that this attempt fitted: its outcome, and its feature extractor if it used features."""

    outcome: Outcome
    extractor: Extractor | None = None


def read_outcome(record: Mapping[str, Any], best: Path, probe: Path) -> Outcome | None:
    """Read the outcome of a phase that an earlier attempt finished; None if it cannot be used.

    Args:
        best: the file of the phase's weights.
        probe: the file of its head, if that is no layer of the network.
    """
    facts = dict(record)
    if facts.keys() != {"weights", *(field.name for field in fields(Outcome))}:
        log.warning("phase %s was recorded by another version of headstart: it is fitted again", facts.get("phase"))
        return None
    for path, meant in ((best, facts.pop("weights")), (probe, facts.get("probe_digest"))):
        if meant is not None and (not path.is_file() or weights.digest_file(path) != meant):
            log.warning("%s is damaged or missing: its phase is fitted again", path)
            return None
    facts["extractions"] = {part: Extraction(**cost) for part, cost in facts["extractions"].items()}
    spent = facts["seconds"] + sum(cost.own_seconds for cost in facts["extractions"].values())
    return Outcome(**facts | {"earlier_seconds": spent})
