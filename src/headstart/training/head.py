"""A phase that fits its head on features of the frozen layers; it needs no Lightning and does not import it."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.config.selection import BY_CLASS, LOSS
from headstart.config.words import count
from headstart.context import Context
from headstart.distributed import comm
from headstart.errors import UserError
from headstart.features.extractor import open_extractor
from headstart.features.views import extract_training_features
from headstart.models import weights
from headstart.probe import head_file
from headstart.probe.base import Probe, ProbeFit
from headstart.strategy.plan import Phase
from headstart.strategy.route import FittedHead
from headstart.tracking import progress
from headstart.training.loss import class_weights
from headstart.training.outcome import FittedPhase, Outcome

log = logging.getLogger(__name__)


def fit_head(context: Context, phase: Phase, route: FittedHead) -> FittedPhase:
    """Fit the head, and copy it into the network, or save it in a file of its own if that is not possible."""
    config, classes = context.config, len(context.data.classes)
    extractor = open_extractor(context, route.split)
    features, labels = extract_training_features(context, phase.name, route.split, route.views, extractor)
    train, val = (x.flatten(1).to(context.device) for x in (features, extractor(context.data.val, "val")))
    labels, val_labels = labels.to(context.device), context.data.val.labels.to(context.device)
    # in expectation both are the same, except with label smoothing
    balanced = "balanced" in (config.class_weights, config.data.sampling)
    importance = class_weights(labels, classes)[labels] if balanced else None
    began = time.monotonic()
    options: dict[str, Any] = {"parts": route.columns, "seed": config.seed}
    options |= {"smoothing": config.label_smoothing} if route.takes_smoothing and config.label_smoothing else {}
    options |= _select_by(config.select, route)
    if route.is_refitted and getattr(route.probe, "is_linear", False):
        options["copies"] = max(1, route.views)
    with progress.task(f"{phase.name}: fitting {_name_probe(route.probe)}"):
        fitted = route.probe.fit(train, labels, val, val_labels, classes, importance, **options)
    seconds = time.monotonic() - began
    probe_digest = _save_head(context, phase, route, fitted)
    _report(context, phase, route, fitted, seconds)
    best = fitted.chosen
    details = {"chosen": best["value"], "tried": len(fitted.table)}
    details |= {"on": best["features"]} if route.columns else {}
    details |= {"scale": fitted.scale} if probe_digest is None and fitted.scale != 1 else {}
    details |= {name: best[name] for name in ("weight_decay", "val_accuracy", "val_nll", *BY_CLASS) if name in best}
    outcome = Outcome(
        phase=phase.name,
        kind=route.name,
        cut_at=route.split.at,
        seconds=seconds,
        extractions=dict(extractor.costs),
        probabilities=fitted.probabilities,
        details=details,
        probe_digest=probe_digest,
    )
    return FittedPhase(outcome, extractor)


def _select_by(select: str, route: FittedHead) -> dict[str, str]:
    """The argument of `fit` that says by what the value is chosen, if `select` asks for another rule than the probe's.

    Raises:
        UserError: a probe of one's own knows no other rule.
    """
    if select not in BY_CLASS:
        return {}
    if not isinstance(route.probe, Probe):
        raise UserError(
            f"select={select}: {type(route.probe).__name__} chooses its value by a rule of its own, because it is no "
            "headstart.probe.base.Probe; use select=val_accuracy"
        )
    return {"select": select}


def _report(context: Context, phase: Phase, route: FittedHead, fitted: ProbeFit, seconds: float) -> None:
    best = fitted.chosen
    log.info(
        "  %s  %s: acc %.1f %% (%s)  |  %.2f s",
        phase.name,
        describe_choice(route.probe, fitted, route.columns),
        100 * best["val_accuracy"],
        count(len(context.data.val), "image"),
        seconds,
    )
    context.run_log.log_epoch(
        phase.name,
        1,
        1,
        train_accuracy=best["train_accuracy"],
        val_loss=best["val_nll"],
        val_accuracy=best["val_accuracy"],
        seconds=seconds,
    )


def describe_choice(probe: Any, fitted: ProbeFit, parts: Mapping[str, Any] | None = None) -> str:
    """Say what was tried and chosen: `Ridge: 45 penalties tried, 0.178 chosen on validation accuracy`.

    Args:
        parts: sets of features, by name, among which the probe chose too.
    """
    best, noun = fitted.chosen, getattr(probe, "noun", "value")
    chosen = f"{best['value']:.3g}" + (f" with weight decay {best['weight_decay']:g}" if "and" in noun.split() else "")
    on = f" on {best['features']}" if parts else ""
    if len(fitted.table) == 1:
        return f"{_name_probe(probe)}: {noun} {chosen}"
    tried = count(len(fitted.table) // max(1, len(parts or ())), noun)
    each = f" on each of {count(len(parts), 'set')} of features" if parts and len(parts) > 1 else ""
    by_loss = fitted.probabilities and getattr(probe, "select", LOSS) == LOSS
    asked = [name.removeprefix("val_").replace("_", " ") for name in BY_CLASS if name in best]
    score = asked[0] if asked else "loss" if by_loss else "accuracy"
    return f"{_name_probe(probe)}: {tried} tried{each}, {chosen}{on} chosen on validation {score}"


def _name_probe(probe: Any) -> str:
    return type(probe).__name__


def _save_head(context: Context, phase: Phase, route: FittedHead, fit: ProbeFit) -> str | None:
    """Copy a fitted head into the network, or write it to a file of its own; returns the digest of that file.

    Further processes then load what the first one wrote. Scores (of `Ridge`) are scaled to logits in the network,
    because a phase that follows minimises the cross-entropy of what they are.
    """
    head: Any = context.model.get_classifier()
    fitted = fit.head
    # a head that was fitted on chosen stages is no layer of the network, even if it has the width of the network's head
    fits = isinstance(fitted, nn.Linear) and fitted.weight.numel() == head.weight.numel()
    separate = route.columns is not None or not fits
    if isinstance(fitted, nn.Linear) and not separate:
        with torch.no_grad():
            head.weight.copy_(fit.scale * fitted.weight.reshape(head.weight.shape))
            head.bias.copy_(fit.scale * fitted.bias)
        if fit.scale != 1:
            log.info("  %s  its scores are multiplied by %.3g, so that they are logits", phase.name, fit.scale)
    best = context.best_weights(phase.name)
    if comm.is_first():
        weights.save(context.model, best, headless=separate)
        if separate:
            head_file.save(fitted, context.probe_head)
    comm.barrier()
    if not comm.is_first():
        weights.load(context.model, best)
    return weights.digest_file(context.probe_head) if separate else None
