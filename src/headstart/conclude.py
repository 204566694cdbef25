"""The end of a run: tested once, on what no choice has seen; predictions and `result.json` written."""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from headstart import __version__, hardware, metrics
from headstart.features import images_per_batch, infer
from headstart.fit import Context, Outcome, Way
from headstart.models import cut as cutting
from headstart.strategy import Phase

PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "torchmetrics", "wandb", "numpy")


def conclude(
    context: Context, phases: list[Phase], ways: list[Way], outcomes: list[Outcome], began: float
) -> dict[str, Any]:
    """Test once, write `predictions.csv` and `result.json`, tell the dashboard; returns the result."""
    data, probabilities = context.data, outcomes[-1].probabilities
    started, paid = time.monotonic(), _paid(ways)
    val = metrics.evaluate(logits(context, "val", ways[-1]), data.val.labels, probabilities)
    scores = logits(context, "test", ways[-1])
    test = metrics.evaluate(scores, data.test.labels, probabilities)
    rows = metrics.predictions(scores, data.test.labels, data.test.names, probabilities)
    metrics.save_predictions(context.run.folder / "predictions.csv", rows)
    testing = time.monotonic() - started - (_paid(ways) - paid)
    result = (
        {"status": "completed"}
        | _names(context)
        | {"test": test, "val": val}
        | _sizes(context, phases)
        | _costs(context, ways, outcomes, testing, began)
        | _circumstances(context)
    )
    context.run_log.finish(result, rows, lambda which: data.pictures("test", which), data.classes)
    context.run.complete(result)
    return result


def logits(context: Context, part: str, way: Way) -> Tensor:
    """The network's outputs [n, classes] on a part of the data; through cached features where the phase had them."""
    pixels, config = getattr(context.data, part), context.config.hardware
    if way.cut is not None:
        extract = way.extract(context)
        features = extract.of_validation(pixels) if part == "val" else extract(pixels, f"{part} images")
        return infer(way.cut.rest, lambda a, b: features[a:b], len(features), config, part, batch_size=1024).float()
    preprocess = context.preprocess().eval()

    def batch(start: int, stop: int) -> Tensor:
        return preprocess(pixels.images[start:stop].to(context.device))

    network = cutting.folded(context.model.eval()).to(memory_format=hardware.memory_format(config))
    size = images_per_batch(context.data.image_size, context.device)
    return infer(network, batch, len(pixels), config, part, batch_size=size).float()


def _paid(ways: Sequence[Way]) -> float:
    """Seconds of extraction that this run itself has spent."""
    costs = [way.extractor.cost for way in ways if way.extractor]
    return sum(cost.seconds - cost.reused_seconds for cost in costs)


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


def _sizes(context: Context, phases: list[Phase]) -> dict[str, Any]:
    sizes = {name: parameter.numel() for name, parameter in context.model.named_parameters()}
    learned = frozenset().union(*(phase.trainable for phase in phases))
    parts = context.data.sizes
    return {
        "n_train": parts["train"],
        "n_val": parts["val"],
        "n_test": parts["test"],
        "params": {"total": sum(sizes.values()), "trainable": sum(sizes[name] for name in learned)},
        "gmacs": gmacs(context.model, context.data.image_size),
        "classes": list(context.data.classes),
    }


def _costs(context: Context, ways: list[Way], outcomes: list[Outcome], testing: float, began: float) -> dict[str, Any]:
    """Epochs, passes through the backbone and seconds; what was read from the cache counts as when it was computed."""
    costs = [way.extractor.cost for way in ways if way.extractor]
    fitting = sum(outcome.seconds for outcome in outcomes)
    images = sum(outcome.images for outcome in outcomes)
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
            "total": time.monotonic() - began,
        },
        "cached": any(cost.reused for cost in costs) and not any(cost.computed for cost in costs),
        "images_per_second": images / fitting if images else None,
        "phases": [
            {"name": o.phase, "kind": o.kind, "cut_at": o.cut_at, "epochs": o.epochs, "seconds": o.seconds}
            | (o.details or {})
            for o in outcomes
        ],
    }


def _circumstances(context: Context) -> dict[str, Any]:
    return {
        "hardware": hardware.facts(context.config.hardware),
        "versions": {"headstart": __version__} | {name: version(name) for name in PACKAGES},
        "digests": context.digests,
        "config_hash": context.run.hash,
        "wandb_id": context.run.id if context.config.logger.wandb else None,
    }


def gmacs(model: nn.Module, image_size: int) -> float:
    """Multiply-adds of one forward pass of one image, in units of 10^9 (convolutions and matrix products)."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return float(counter.get_total_flops() / 2e9)
