"""Phases as separate fits in one process, one after the other, each handing its best weights on."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart import checkpoints, ranks, stopping, strategy
from headstart import config as configs
from headstart.context import Context
from headstart.features import Extraction
from headstart.models import weights
from headstart.ways import Way

if TYPE_CHECKING:
    from headstart.strategy import Phase

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

    def record(self, best: Path) -> dict[str, Any]:
        """The outcome for `state.json`, with the digest of the weights that the phase hands on."""
        return asdict(self) | {"weights": weights.file_digest(best)}


def done_before(record: Mapping[str, Any], best: Path) -> Outcome | None:
    """The outcome of a phase that an earlier attempt finished; None if the weights it left are damaged or gone."""
    facts = dict(record)
    meant = facts.pop("weights")
    if not best.is_file() or weights.file_digest(best) != meant:
        log.warning("%s is damaged or gone: its phase is fitted again", best)
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
        outcome = done_before(done[index], best) if index < len(done) else None
        if outcome is not None:
            log.info("  %s  was finished by an earlier attempt", phase.name)
            weights.load(context.model, best)
        else:
            done = []  # what came after a phase that is fitted again does not count either
            if ranks.leads():
                for later in phases[index + 1 :]:
                    checkpoints.remove(context.best_weights(later).parent)
            context.run.state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
            outcome = run_phase(context, phase, index, way)
        outcomes.append(outcome)
        records.append(outcome.record(best))
        context.run.state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
        if ranks.leads():
            checkpoints.remove(best.parent)
        signum = ranks.agreed(stopping.requested() or 0)
        if signum:
            raise stopping.Stopped(signum)
    return outcomes


def run_phase(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Fit one phase; afterwards ``context.model`` carries its best-on-validation weights."""
    strategy.freeze(context.model, phase)
    before = weights.digest(_frozen(context.model, phase))
    if way.kind == "probe":
        outcome = _probe(context, phase, way)
    else:
        from headstart.gradient import learn  # and with it Lightning, which takes seconds to import

        outcome = learn(context, phase, index, way)
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


def _probe(context: Context, phase: "Phase", way: Way) -> Outcome:
    """Fit the head on features in one solve, and copy it into the network."""
    assert way.cut is not None
    assert phase.config.probe is not None
    extract = way.extract(context)
    features, labels = way.training_features(context, phase)
    train = features.flatten(1).to(context.device)
    val = extract(context.data.val, "val").flatten(1).to(context.device)
    head: Any = context.model.get_classifier()
    began = time.monotonic()
    probe = configs.build(phase.config.probe)
    val_labels = context.data.val.labels.to(context.device)
    fitted = probe.fit(train, labels.to(context.device), val, val_labels, len(context.data.classes))
    with torch.no_grad():
        head.weight.copy_(fitted.weight.reshape(head.weight.shape))
        head.bias.copy_(fitted.bias)
    seconds = time.monotonic() - began
    if ranks.leads():
        weights.save(context.model, context.best_weights(phase))
    ranks.barrier()
    weights.load(context.model, context.best_weights(phase))
    best = next(row for row in fitted.table if row["value"] == fitted.chosen)
    log.info(
        "  %s  %d values tried, chosen %.3g by validation: acc %.1f %% (%d images)  |  %.2f s",
        phase.name,
        len(fitted.table),
        fitted.chosen,
        100 * best["val_accuracy"],
        len(val_labels),
        seconds,
    )
    context.run_log.epoch(
        phase.name,
        1,
        1,
        train_accuracy=best["train_accuracy"],
        val_loss=best["val_nll"],
        val_accuracy=best["val_accuracy"],
        seconds=seconds,
    )
    details = {"chosen": fitted.chosen, "tried": len(fitted.table)}
    return Outcome(
        phase.name, "probe", way.cut.at, 0, 0, 0, seconds, dict(extract.costs), fitted.probabilities, details
    )
