"""Train the phases one after the other in one process; each starts with the best weights of the one before."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from headstart.context import Context
from headstart.data.filenames import list_names
from headstart.distributed import comm
from headstart.errors import UserError
from headstart.features.extractor import Extractor
from headstart.models import weights
from headstart.runtime import shared, signals
from headstart.storage import checkpoints
from headstart.strategy.plan import Phase, freeze
from headstart.strategy.route import FittedHead, Route
from headstart.training.outcome import FittedPhase, Outcome, read_outcome

log = logging.getLogger(__name__)


def run_phases(
    context: Context, phases: Sequence[Phase], routes: Sequence[Route], done: list[dict[str, Any]]
) -> tuple[list[Outcome], Extractor | None]:
    """Fit the phases one after the other; of those that an earlier attempt finished, only the weights are loaded.

    Args:
        done: the records of the phases that the earlier attempt finished, the first of `phases`.

    Returns:
        The outcomes, and the last phase's feature extractor if this attempt used one.
    """
    _check_selection(context)
    outcomes: list[Outcome] = []
    records: list[dict[str, Any]] = []
    extractor = None
    for index, (phase, route) in enumerate(zip(phases, routes, strict=True)):
        best = context.best_weights(phase.name)
        outcome = read_outcome(done[index], best, context.probe_head) if index < len(done) else None
        if outcome is not None:
            log.info("  %s  was finished by an earlier attempt", phase.name)
            weights.load(context.model, best)
            extractor = None
        else:
            done = []  # if a phase is fitted again, so are all later ones
            if comm.is_first():
                for later in phases[index + 1 :]:
                    checkpoints.remove(context.best_weights(later.name).parent)
            context.run.update_state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
            fitted = fit_phase(context, phase, index, route)
            outcome, extractor = fitted.outcome, fitted.extractor
        outcomes.append(outcome)
        records.append(outcome.record(best))
        context.run.update_state(status="running", phase=phase.name, index=index, of=len(phases), done=records)
        if comm.is_first():
            checkpoints.remove(best.parent)
        signum = comm.broadcast(signals.requested_stop() or 0)
        if signum:
            raise signals.Stopped(signum)
    return outcomes, extractor


def _check_selection(context: Context) -> None:
    """Raise UserError if `select` names a score that the validation images do not have."""
    part, classes = context.data.parts["val"], context.data.classes
    counts = np.bincount(part.labels, minlength=len(classes))
    if context.config.select == "val_auroc" and not counts.all():
        without = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
        raise UserError(
            f"select=val_auroc: needs a validation image of every class, and these have none: {list_names(without)}. "
            "Use select=val_f1, or more validation images (data.val_fraction)"
        )


def fit_phase(context: Context, phase: Phase, index: int, route: Route) -> FittedPhase:
    """Fit one phase; afterwards `context.model` has the weights that were best on validation."""
    freeze(context.model, phase)
    before = shared.derive(
        context.model,
        "frozen",
        phase.trainable,
        lambda: weights.digest_tensors(_list_frozen_tensors(context.model, phase)),
    )
    if isinstance(route, FittedHead):
        from headstart.training.head import fit_head

        fitted = fit_head(context, phase, route)
    else:
        from headstart.training.gradient import fit_by_gradient  # imports Lightning, which takes seconds

        fitted = fit_by_gradient(context, phase, index, route)
    if weights.digest_tensors(_list_frozen_tensors(context.model, phase)) != before:
        raise AssertionError(f"phase {phase.name} changed frozen tensors; please report this")
    return fitted


def _list_frozen_tensors(model: nn.Module, phase: Phase) -> dict[str, Any]:
    """List every frozen parameter, and the buffers (batch-norm statistics) of modules that are completely frozen."""
    tensors: dict[str, Any] = {name: value for name, value in model.named_parameters() if phase.rates[name] is None}
    for prefix, module in model.named_modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            tensors |= {f"{prefix}.{name}": value for name, value in module.named_buffers(recurse=False)}
    return tensors
