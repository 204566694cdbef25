"""What one phase did and cost, and its record in `state.json`."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headstart.features.extractor import Extraction, Extractor
from headstart.models import weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one phase did and cost."""

    phase: str
    kind: str  # the route's name: probe, features (gradient steps on cached features) or images (gradient steps)
    cut_at: str | None
    epochs: int = 0
    images: int = 0  # that gradient steps went through, with repetitions
    live_forwards: int = 0  # images that went through the whole network while it was fitted, validation included
    seconds: float  # of fitting, without extraction
    extractions: dict[str, Extraction] = field(default_factory=dict)  # what its features cost, by part of the data
    probabilities: bool = True  # whether the logits are log-probabilities: not for a ridge head
    details: dict[str, Any] = field(default_factory=dict)
    earlier_seconds: float = 0.0  # the part of all these seconds that attempts before this one spent
    probe_digest: str | None = None  # the digest of a head that is kept beside the network

    def record(self, best: Path) -> dict[str, Any]:
        """The outcome for `state.json`, with the digest of the weights that the phase hands on."""
        return asdict(self) | {"weights": weights.file_digest(best)}


@dataclass(frozen=True)
class FittedPhase:
    """A phase that was fitted just now: what it did, and its frozen prefix where it had features."""

    outcome: Outcome
    extractor: Extractor | None = None


def read_outcome(record: Mapping[str, Any], best: Path, probe: Path) -> Outcome | None:
    """The outcome of a phase that an earlier attempt finished; None if a file that it left is damaged or gone.

    Args:
        best: the weights that it handed on.
        probe: the head that it may have kept beside them.
    """
    facts = dict(record)
    for path, meant in ((best, facts.pop("weights")), (probe, facts.get("probe_digest"))):
        if meant is not None and (not path.is_file() or weights.file_digest(path) != meant):
            log.warning("%s is damaged or gone: its phase is fitted again", path)
            return None
    facts["extractions"] = {part: Extraction(**cost) for part, cost in facts["extractions"].items()}
    spent = facts["seconds"] + sum(cost.own_seconds for cost in facts["extractions"].values())
    return Outcome(**facts | {"earlier_seconds": spent})
