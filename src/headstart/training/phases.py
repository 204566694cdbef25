"""Phases as separate fits in one process, one after the other, each handing its best weights on."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from headstart.context import Context
from headstart.distributed import comm
from headstart.features.extractor import Extraction
from headstart.models import weights
from headstart.probe import head_file
from headstart.runtime import signals
from headstart.storage import checkpoints
from headstart.strategy import plan
from headstart.strategy.route import Way

if TYPE_CHECKING:
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What one phase did and cost."""

    phase: str
    kind: str  # 'probe', 'features' (gradient steps on cached features) or 'images' (gradient steps on images)
    cut_at: str | None
    epochs: int
    images: int  # images that gradient steps went through, with repetitions; 0 for a probe
    live_forwards: int  # images that went through the whole network while it was fitted, validation included
    seconds: float  # of fitting, without extraction
    extractions: dict[str, Extraction]  # what its features cost, by part of the data
    probabilities: bool = True  # whether the logits are log-probabilities: not for a ridge head
    details: dict[str, Any] | None = None
    earlier: float = 0.0  # the part of all these seconds that attempts before this one spent
    beside: str | None = None  # the digest of a head that is kept beside the network

    def record(self, best: Path) -> dict[str, Any]:
        """The outcome for `state.json`, with the digest of the weights that the phase hands on."""
        return asdict(self) | {"weights": weights.file_digest(best)}


def read_outcome(record: Mapping[str, Any], best: Path, probe: Path) -> Outcome | None:
    """The outcome of a phase that an earlier attempt finished; None if a file that it left is damaged or gone.

    Args:
        best, probe: the weights that it handed on, and the head that it may have kept beside them.
    """
    facts = dict(record)
    for path, meant in ((best, facts.pop("weights")), (probe, facts.get("beside"))):
        if meant is not None and (not path.is_file() or weights.file_digest(path) != meant):
            log.warning("%s is damaged or gone: its phase is fitted again", path)
            return None
    facts["extractions"] = {part: Extraction(**cost) for part, cost in facts["extractions"].items()}
    outcome = Outcome(**facts)
    outcome.earlier = outcome.seconds + sum(cost.paid for cost in outcome.extractions.values())
    return outcome


def run_phases(context: Context, phases: list["Phase"], ways: list[Way], done: list[dict[str, Any]]) -> list[Outcome]:
    """Fit the phases one after another; those that an earlier attempt finished only give their weights.

    Args:
        done: the records of the earlier attempt, a prefix of ``phases``.
    """
    outcomes: list[Outcome] = []
    records: list[dict[str, Any]] = []
    for index, (phase, way) in enumerate(zip(phases, ways, strict=True)):
        best = context.best_weights(phase)
        outcome = read_outcome(done[index], best, context.probe_head) if index < len(done) else None
        if outcome is not None:
            log.info("  %s  was finished by an earlier attempt", phase.name)
            weights.load(context.model, best)
            way.head = None if outcome.beside is None else head_file.load(context.probe_head).to(context.device)
        else:
            done = []  # what came after a phase that is fitted again does not count either
            if comm.is_first():
                for later in phases[index + 1 :]:
                    checkpoints.remove(context.best_weights(later).parent)
            context.run.state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
            outcome = run_phase(context, phase, index, way)
        outcomes.append(outcome)
        records.append(outcome.record(best))
        context.run.state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
        if comm.is_first():
            checkpoints.remove(best.parent)
        signum = comm.broadcast(signals.requested_stop() or 0)
        if signum:
            raise signals.Stopped(signum)
    return outcomes


def run_phase(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Fit one phase; afterwards ``context.model`` carries its best-on-validation weights."""
    plan.freeze(context.model, phase)
    before = weights.digest(_frozen(context.model, phase))
    if way.kind == "probe":
        from headstart.training.head import fit_head

        outcome = fit_head(context, phase, way)
    else:
        from headstart.training.gradient import fit_by_gradient

        outcome = fit_by_gradient(context, phase, index, way)
    if weights.digest(_frozen(context.model, phase)) != before:
        raise AssertionError(f"phase {phase.name} changed frozen tensors; please report this")
    return outcome


def _frozen(model: nn.Module, phase: "Phase") -> dict[str, Any]:
    """Every frozen parameter, and the buffers (batch-norm statistics) of every module that is frozen as a whole."""
    tensors: dict[str, Any] = {name: value for name, value in model.named_parameters() if phase.rates[name] is None}
    for prefix, module in model.named_modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            tensors |= {f"{prefix}.{name}": value for name, value in module.named_buffers(recurse=False)}
    return tensors
