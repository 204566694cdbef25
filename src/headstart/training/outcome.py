"""The outcome of one phase (what it did and what it cost), and its record in `state.json`."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

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
    digest = facts.pop("weights", None)
    known = isinstance(digest, str) and _has_fields(facts, Outcome)
    if not known or not all(_has_fields(cost, Extraction) for cost in facts["extractions"].values()):
        log.warning(
            "phase %s was recorded by another version of headstart, or its record in state.json is damaged: it is "
            "fitted again",
            facts.get("phase"),
        )
        return None
    for path, meant in ((best, digest), (probe, facts.get("probe_digest"))):
        if meant is not None and (not path.is_file() or weights.digest_file(path) != meant):
            log.warning("%s is damaged or missing: its phase is fitted again", path)
            return None
    facts["extractions"] = {part: Extraction(**cost) for part, cost in facts["extractions"].items()}
    spent = facts["seconds"] + sum(cost.own_seconds for cost in facts["extractions"].values())
    return Outcome(**facts | {"earlier_seconds": spent})


def _has_fields(facts: Any, kind: type) -> bool:
    """Whether a record has exactly the fields of a dataclass, each with a value of its type."""
    types = get_type_hints(kind)
    if not isinstance(facts, Mapping) or facts.keys() != {each.name for each in fields(kind)}:
        return False
    plain = {float: (float, int)} | {each: get_origin(each) for each in types.values() if get_origin(each) is dict}
    return all(isinstance(value, plain.get(types[name], types[name])) for name, value in facts.items())
