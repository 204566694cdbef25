"""The end of a run: test once, on images that no choice has used, and write predictions and `result.json`."""

import platform
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from torch import Tensor

from headstart.config.schema import RunConfig
from headstart.context import Context
from headstart.evaluation import metrics, probabilities
from headstart.evaluation.calibration import calibrate
from headstart.evaluation.evaluate import Evaluation
from headstart.features.extractor import Extraction
from headstart.models.cost import count_gmacs
from headstart.runtime import hardware
from headstart.runtime.shared import derive
from headstart.runtime.version import __version__
from headstart.scores import NAMES
from headstart.storage.redact import mask
from headstart.storage.runs import Run
from headstart.strategy.plan import Phase
from headstart.strategy.route import FittedHead
from headstart.tracking.wandb_sweep import find_run_id
from headstart.training.outcome import Outcome

PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "torchmetrics", "wandb", "numpy")


def finish_run(evaluation: Evaluation, phases: Sequence[Phase], outcomes: Sequence[Outcome], began: float) -> None:
    """Test once, write predictions.csv, predictions.npz and `result.json`, and send the result to the logger.

    Args:
        began: when this attempt began, by `time.monotonic`.
    """
    context, last = evaluation.context, outcomes[-1]
    data, started = context.data, time.monotonic()
    val, val_scores = _validate(evaluation, last)
    scores, speed = evaluation.time_logits(data.test, "test")
    testing = time.monotonic() - started
    for measure in context.measures:
        measure.on_test_end(data.test, evaluation.compute_uncached_logits, context.run.folder)
    if not context.run.leads:
        return
    test = metrics.evaluate(scores, data.test.labels, last.probabilities)
    rows = metrics.list_predictions(scores, data.test.labels, data.test.names, last.probabilities)
    metrics.save_predictions(context.run.folder / "predictions.csv", rows, data.classes)
    parts = {"test": (data.test.names, data.test.labels, scores)}
    parts |= {} if val_scores is None else {"val": (data.val.names, data.val.labels, val_scores)}
    probabilities.save_probabilities(context.run.folder / probabilities.NAME, parts, data.classes, last.probabilities)
    for_fit = None if val_scores is None else (val_scores, data.val.labels)
    calibration = calibrate(for_fit, (scores, data.test.labels), last.probabilities)
    extractions = _list_extractions(evaluation, outcomes)
    late = [cost for part, cost in extractions[-1].items() if part not in last.extractions]
    testing -= sum(cost.own_seconds - cost.earlier_seconds for cost in late)
    result = (
        {"status": "completed"}
        | _describe_run(context)
        | {"test": test, "val": val, "calibration": calibration}
        | {"per_class": metrics.list_classes(scores, data.test.labels, data.classes)}
        | {"preprocessing": _describe_preprocessing(context)}
        | _count_sizes(evaluation, phases)
        | _sum_costs(evaluation, outcomes, extractions, testing, began)
        | {"ms_per_image": speed}
        | _describe_environment(context)
    )
    context.run_log.finish(result, rows, lambda which: data.decode_rows("test", which), data.classes)
    context.run.complete(result)


def _validate(evaluation: Evaluation, last: Outcome) -> tuple[dict[str, float | None], Tensor | None]:
    """The validation scores, and the outputs [n, classes] that they are of.

    For a head that was refitted on validation images: the scores by which it was chosen, and None.
    """
    route, val = evaluation.route, evaluation.context.data.val
    if isinstance(route, FittedHead) and route.is_refitted:
        known = {name: last.details.get(f"val_{name}") for name in NAMES}
        return known, None
    scores = evaluation.compute_logits(val, "val")
    return metrics.evaluate(scores, val.labels, last.probabilities), scores


def _list_extractions(evaluation: Evaluation, outcomes: Sequence[Outcome]) -> list[dict[str, Extraction]]:
    """The cost of features by phase and part; a part that the evaluation used again counts only the first time."""
    found = [outcome.extractions for outcome in outcomes]
    extractor = evaluation.extractor
    return found if extractor is None else [*found[:-1], extractor.costs | found[-1]]


def _describe_run(context: Context) -> dict[str, Any]:
    config, run = context.config, context.run
    return {
        "run": run.name,
        "study": run.study,
        "model": config.model.name,
        "strategy": config.strategy.name,
        "data": config.data.name,
        "seed": config.seed,
    }


def _describe_preprocessing(context: Context) -> dict[str, Any]:
    """How images were prepared; with the values that became black and white, if any had more than 8 bits a pixel."""
    found = context.data.pixel_range
    return context.config.preprocessing | ({} if found is None else {"pixel_range": list(found)})


def _count_sizes(evaluation: Evaluation, phases: Sequence[Phase]) -> dict[str, Any]:
    context = evaluation.context
    sizes = {name: parameter.numel() for name, parameter in context.model.named_parameters()}
    learned = frozenset().union(*(phase.trainable for phase in phases))
    if evaluation.own_head is not None:  # it replaces the network's own head
        own = phases[-1].trainable
        sizes = {name: size for name, size in sizes.items() if name not in own}
        sizes["probe"] = sum(parameter.numel() for parameter in evaluation.own_head.parameters())
        learned = (learned - own) | {"probe"}
    parts = context.data.sizes
    return {
        "n_train": parts["train"],
        "n_val": parts["val"],
        "n_test": parts["test"],
        "skipped": mask(context.data.skipped),
        "duplicates": {key: len(pairs) for key, pairs in context.duplicates.items()},
        "params": {"total": sum(sizes.values()), "trainable": sum(sizes[name] for name in learned)},
        "gmacs": derive(
            context.model,
            "gmacs",
            context.data.image_size,
            lambda: count_gmacs(context.model, context.data.image_size),
        ),
        "classes": list(context.data.classes),
    }


def _sum_costs(
    evaluation: Evaluation,
    outcomes: Sequence[Outcome],
    extractions: list[dict[str, Extraction]],
    testing: float,
    began: float,
) -> dict[str, Any]:
    """Epochs, passes through the backbone and seconds; cached features count with the cost of computing them."""
    costs = [cost for parts in extractions for cost in parts.values()]
    fitting = sum(outcome.seconds for outcome in outcomes)
    stepped = [outcome for outcome in outcomes if outcome.images]
    parts = evaluation.context.data.sizes
    evaluated = 0 if evaluation.route.split else parts["val"] + parts["test"]
    return {
        "epochs": sum(outcome.epochs for outcome in outcomes),
        "backbone_forwards": sum(o.live_forwards for o in outcomes) + sum(cost.rows for cost in costs) + evaluated,
        "seconds": {
            "features": sum(cost.seconds for cost in costs),
            "features_reused": sum(cost.reused_seconds for cost in costs),
            "fit": fitting,
            "test": testing,
            "total": time.monotonic() - began + sum(outcome.earlier_seconds for outcome in outcomes),
        },
        "cached": any(cost.reused for cost in costs) and not any(cost.computed for cost in costs),
        "images_per_second": sum(o.images for o in stepped) / sum(o.seconds for o in stepped) if stepped else None,
        "phases": [
            {"name": o.phase, "kind": o.kind, "cut_at": o.cut_at, "epochs": o.epochs, "seconds": o.seconds} | o.details
            for o in outcomes
        ],
    }


def list_versions() -> dict[str, str]:
    """The versions of headstart and of the packages that decide a run's numbers."""
    return {"headstart": __version__} | {name: _read_version(name) for name in PACKAGES}


_read_version = cache(version)  # parses a file each time


def describe_attempt(config: RunConfig, run: Run, digests: Mapping[str, str | None]) -> dict[str, Any]:
    """Where a run is computed, and from what, for dashboards: one level of keys, the same for every run; none is None.

    Times mean nothing without the machine, and results nothing without the digests of data and weights.
    """
    found = hardware.describe(config.hardware)
    kinds = ("data", "content", "weights", "code", "preprocessing")
    return {
        "host": platform.node(),
        "platform": found["platform"],
        "device": found["device"],
        "gpu": found["device"] if config.hardware.accelerator == "gpu" else "none",
        "cores": found["cores"],
        "torch_threads": found["threads"],
        **{f"version_{name.replace('-', '_')}": number for name, number in list_versions().items()},
        **{f"digest_{kind}": digests.get(kind) or "none" for kind in kinds},
        "config_hash": run.hash,
        "attempts": run.read_state().get("attempts", 1),
        "folder": str(run.folder.absolute()),
        "report": str((run.folder.parent / "report" / "index.html").absolute()),
    }


def _describe_environment(context: Context) -> dict[str, Any]:
    state = context.run.read_state()
    return {
        "learning_rate": state.get("learning_rate"),
        "hardware": hardware.describe(context.config.hardware) | {"tuned": state.get("tuned")},
        "versions": list_versions(),
        "digests": {**context.digests, "content": context.data.content},
        "config_hash": context.run.hash,
        "attempts": state.get("attempts", 1),
        "wandb_id": (find_run_id() or context.run.id) if context.config.logger.wandb else None,
    }
