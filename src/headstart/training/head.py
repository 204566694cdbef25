"""A phase that fits its head on features of the frozen prefix; no Trainer, and none is imported."""

import logging
import time
from typing import Any

import torch
from torch import nn

from headstart.context import Context
from headstart.distributed import comm
from headstart.models import weights
from headstart.probe import head_file
from headstart.strategy.plan import Phase
from headstart.strategy.route import Way
from headstart.training.loss import class_weights
from headstart.training.phases import Outcome

log = logging.getLogger(__name__)


def fit_head(context: Context, phase: Phase, way: Way) -> Outcome:
    """Fit the head, and make it the network's own or keep it beside it; ``class_weights`` count for its images too."""
    assert way.cut is not None
    config, classes = context.config, len(context.data.classes)
    features, labels = way.training_features(context, phase)
    train, val = (x.flatten(1).to(context.device) for x in (features, way.extract(context)(context.data.val, "val")))
    labels, val_labels = labels.to(context.device), context.data.val.labels.to(context.device)
    evened = "balanced" in (config.class_weights, config.data.sampling)  # in expectation the same, but for smoothing
    weights_ = class_weights(labels, classes)[labels] if evened else None
    began = time.monotonic()
    options: dict[str, Any] = {"parts": way.parts, "seed": config.seed}
    options |= {"smoothing": config.label_smoothing} if way.smooths and config.label_smoothing else {}
    if getattr(way.probe, "refit", False) and getattr(way.probe, "copied", False):
        options["copies"] = max(1, way.views)
    fitted = way.probe.fit(train, labels, val, val_labels, classes, weights_, **options)
    seconds = time.monotonic() - began
    kept, best = _settle(context, phase, way, fitted.head), fitted.chosen
    log.info(
        "  %s  %d values tried, chosen %.3g%s by validation: acc %.1f %% (%d images)  |  %.2f s",
        phase.name,
        len(fitted.table),
        best["value"],
        f" on {best['features']}" if way.parts else "",
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
    details = {"chosen": best["value"], "tried": len(fitted.table)} | ({"on": best["features"]} if way.parts else {})
    details |= {name: best[name] for name in ("weight_decay", "val_accuracy", "val_nll") if name in best}
    return Outcome(
        phase.name,
        "probe",
        way.cut.at,
        0,
        0,
        0,
        seconds,
        dict(way.extract(context).costs),
        fitted.probabilities,
        details,
        beside=kept,
    )


def _settle(context: Context, phase: Phase, way: Way, fitted: nn.Module) -> str | None:
    """Make a fitted head the network's, or write it beside the network; returns the digest of what was written there.

    Every process goes on with what the first one wrote.
    """
    head: Any = context.model.get_classifier()
    # one that was fitted on chosen stages is kept aside, even where it is as wide as the network's own
    aside = way.parts is not None or not isinstance(fitted, nn.Linear) or fitted.weight.numel() != head.weight.numel()
    if isinstance(fitted, nn.Linear) and not aside:
        with torch.no_grad():
            head.weight.copy_(fitted.weight.reshape(head.weight.shape))
            head.bias.copy_(fitted.bias)
    if comm.is_first():
        weights.save(context.model, context.best_weights(phase))
        if aside:
            head_file.save(fitted, context.probe_head)
    comm.barrier()
    weights.load(context.model, context.best_weights(phase))
    if not aside:
        return None
    way.head = head_file.load(context.probe_head).to(context.device)
    return weights.file_digest(context.probe_head)
