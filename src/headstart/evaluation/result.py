"""The end of a run: tested once, on what no choice has seen; predictions and `result.json` written."""

import time
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from headstart import __version__
from headstart.context import Context
from headstart.data.loader import Pixels
from headstart.distributed import comm
from headstart.evaluation import metrics
from headstart.features.extractor import Extraction, images_per_batch, run_inference
from headstart.models import split
from headstart.models.cost import gmacs
from headstart.runtime import hardware
from headstart.strategy.plan import Phase
from headstart.strategy.route import Exact, Way
from headstart.tracking.logger import SCORES
from headstart.training.phases import Outcome

QUERIES = 1024  # rows of features that go through a probe's head at once
PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "torchmetrics", "wandb", "numpy")


def finish_run(context: Context, phases: list[Phase], ways: list[Way], outcomes: list[Outcome], began: float) -> None:
    """Test once, write `predictions.csv` and `result.json`, tell the dashboard."""
    data, probabilities = context.data, outcomes[-1].probabilities
    started = time.monotonic()
    if getattr(ways[-1].probe, "refit", False):  # fitted on these images too: what counts is what it was chosen by
        chosen = outcomes[-1].details or {}
        val = dict.fromkeys(SCORES) | {name: chosen.get(f"val_{name}") for name in ("accuracy", "nll")}
    else:
        val = metrics.evaluate(predict_logits(context, data.val, "val", ways[-1]), data.val.labels, probabilities)
    scores, speed = _timed_test(context, ways[-1])
    testing = time.monotonic() - started
    for measure in context.measures:
        measure.tested(context, lambda pixels: predict_logits(context, pixels, "measure", ways[-1].live()))
    if not context.run.leads:
        return
    test = metrics.evaluate(scores, data.test.labels, probabilities)
    rows = metrics.predictions(scores, data.test.labels, data.test.names, probabilities)
    metrics.save_predictions(context.run.folder / "predictions.csv", rows)
    extractions = _extractions(ways, outcomes)
    late = [cost for part, cost in extractions[-1].items() if part not in outcomes[-1].extractions]
    testing -= sum(cost.paid - cost.earlier_seconds for cost in late)
    result = (
        {"status": "completed"}
        | _names(context)
        | {"test": test, "val": val}
        | _sizes(context, phases, ways[-1])
        | _costs(context, ways, outcomes, extractions, testing, began)
        | {"ms_per_image": speed}
        | _circumstances(context)
    )
    context.run_log.finish(result, rows, lambda which: data.pictures("test", which), data.classes)
    context.run.complete(result)


def _timed_test(context: Context, way: Way) -> tuple[Tensor, float | None]:
    """The test set's logits, and the milliseconds per image where the whole network ran, decoding aside."""
    pixels = context.data.test
    if way.cut is not None or pixels.streamed:
        return predict_logits(context, pixels, "test", way), None
    pixels.images  # noqa: B018 decoded when they are first looked at
    began = time.monotonic()
    scores = predict_logits(context, pixels, "test", way)
    return scores, 1000 * (time.monotonic() - began) / len(pixels)


def predict_logits(context: Context, pixels: Pixels, part: str, way: Way) -> Tensor:
    """The network's outputs [n, classes] on images; through cached features where the phase had them."""
    config = context.config.hardware
    network, features = way.head, None
    size = images_per_batch(context.data.image_size, context.device)
    if way.cut is not None:
        features = way.extract(context)(pixels, part)
        size = size if network is None else QUERIES
        network = way.cut.rest if network is None else network
        network = Exact(network) if way.kind == "probe" else network
    elif network is None:
        network = split.fold_batch_norms(context.model.eval())
    network = network.to(memory_format=hardware.memory_format(config))
    preprocess = context.preprocess().eval()

    def outputs(mine: slice) -> Tensor:
        pin = context.device.type == "cuda"
        images = pixels.batches(torch.arange(len(pixels))[mine], size, workers=config.workers, pin=pin)

        def batch(start: int, stop: int) -> Tensor:
            if features is not None:
                return features[start:stop].float()
            return preprocess(next(images).to(context.device, non_blocking=True))

        return run_inference(network, batch, mine, config, part, batch_size=size).float()

    return comm.compute_in_shares(len(pixels), outputs)


def _extractions(ways: list[Way], outcomes: list[Outcome]) -> list[dict[str, Extraction]]:
    """What features cost, by phase and part: a part that the evaluation looked at too counts once, as it was first."""
    last = ways[-1].extractor
    found = [outcome.extractions for outcome in outcomes]
    return found if last is None else [*found[:-1], last.costs | found[-1]]


def _names(context: Context) -> dict[str, Any]:
    config, run = context.config, context.run
    return {
        "run": run.name,
        "study": run.study,
        "model": config.model.name,
        "strategy": config.strategy.name,
        "data": config.data.name,
        "seed": config.seed,
    }


def _sizes(context: Context, phases: list[Phase], way: Way) -> dict[str, Any]:
    sizes = {name: parameter.numel() for name, parameter in context.model.named_parameters()}
    learned = frozenset().union(*(phase.trainable for phase in phases))
    if way.head is not None:  # it stands in the place of the network's own
        own = phases[-1].trainable
        sizes = {name: size for name, size in sizes.items() if name not in own}
        sizes["probe"] = sum(parameter.numel() for parameter in way.head.parameters())
        learned = (learned - own) | {"probe"}
    parts = context.data.sizes
    return {
        "n_train": parts["train"],
        "n_val": parts["val"],
        "n_test": parts["test"],
        "skipped": context.data.skipped,
        "duplicates": {key: len(pairs) for key, pairs in context.data.duplicates.items()},
        "params": {"total": sum(sizes.values()), "trainable": sum(sizes[name] for name in learned)},
        "gmacs": gmacs(context.model, context.data.image_size),
        "classes": list(context.data.classes),
    }


def _costs(
    context: Context,
    ways: list[Way],
    outcomes: list[Outcome],
    extractions: list[dict[str, Extraction]],
    testing: float,
    began: float,
) -> dict[str, Any]:
    """Epochs, passes through the backbone and seconds; what was read from the cache counts as when it was computed."""
    costs = [cost for parts in extractions for cost in parts.values()]
    fitting = sum(outcome.seconds for outcome in outcomes)
    stepped = [outcome for outcome in outcomes if outcome.images]
    parts = context.data.sizes
    evaluated = 0 if ways[-1].cut else parts["val"] + parts["test"]
    return {
        "epochs": sum(outcome.epochs for outcome in outcomes),
        "backbone_forwards": sum(o.live_forwards for o in outcomes) + sum(cost.rows for cost in costs) + evaluated,
        "seconds": {
            "features": sum(cost.seconds for cost in costs),
            "features_reused": sum(cost.reused_seconds for cost in costs),
            "fit": fitting,
            "test": testing,
            "total": time.monotonic() - began + sum(outcome.earlier for outcome in outcomes),
        },
        "cached": any(cost.reused for cost in costs) and not any(cost.computed for cost in costs),
        "images_per_second": sum(o.images for o in stepped) / sum(o.seconds for o in stepped) if stepped else None,
        "phases": [
            {"name": o.phase, "kind": o.kind, "cut_at": o.cut_at, "epochs": o.epochs, "seconds": o.seconds}
            | (o.details or {})
            for o in outcomes
        ],
    }


def _circumstances(context: Context) -> dict[str, Any]:
    state = context.run.read_state()
    return {
        "hardware": hardware.describe(context.config.hardware) | {"tuned": state.get("tuned")},
        "versions": {"headstart": __version__} | {name: version(name) for name in PACKAGES},
        "digests": context.digests,
        "config_hash": context.run.hash,
        "attempts": state.get("attempts", 1),
        "wandb_id": context.run.id if context.config.logger.wandb else None,
    }
