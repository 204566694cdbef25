"""Phases as separate fits in one process: a probe on features, or gradient steps on features or on images."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from headstart import config as configs
from headstart import hardware, strategy
from headstart.data import Data, is_random
from headstart.data.augment import Preprocess
from headstart.features import Extraction, Extractor, images_per_batch, infer
from headstart.models import cut as cutting
from headstart.models import weights

if TYPE_CHECKING:
    import torch

    from headstart.config import RunConfig
    from headstart.logger import RunLog
    from headstart.models.factory import Input
    from headstart.runs import Run
    from headstart.strategy import Phase

log = logging.getLogger(__name__)


@dataclass
class Context:
    """What every phase of a run works on."""

    config: "RunConfig"
    run: "Run"
    run_log: "RunLog"
    data: Data
    model: Any  # a timm network
    input: "Input"
    device: "torch.device"
    start_digest: str | None  # of the weights as loaded, the new head left out; None from scratch

    def preprocess(self, augment: Any = None) -> Preprocess:
        """uint8 images to this network's input, on its device."""
        return Preprocess(self.data.image_size, self.input.mean, self.input.std, augment).to(self.device)

    @property
    def transform(self) -> dict[str, Any]:
        """Everything that a deterministic input depends on besides the pixels."""
        return {"image_size": self.data.image_size, "mean": self.input.mean, "std": self.input.std}


@dataclass
class Outcome:
    """What one phase did and cost."""

    phase: str
    kind: str  # 'probe', 'features' (gradient steps on cached features) or 'images' (gradient steps on images)
    cut_at: str | None
    epochs: int
    images: int  # rows that the fit went through, with repetitions
    backbone_forwards: int  # images that the backbone, or its frozen prefix, saw; cached ones count as when computed
    seconds: float  # of fitting, without extraction
    extraction: Extraction
    probabilities: bool = True  # whether the logits are log-probabilities: not for a ridge head
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Way:
    """How a phase goes about its work: computed from its rates and its input, never configured."""

    kind: str
    cut: cutting.Cut | None
    why: str


def way(context: Context, phase: "Phase") -> Way:
    """Whether the frozen prefix of a phase can run once per image, and where it ends."""
    example = context.preprocess()(context.data.train.images[:2].to(context.device))
    augmented = phase.config.augment and is_random(context.config.augment) and phase.config.probe is None
    if augmented:
        return Way("images", None, "images are augmented anew each epoch")
    cut = cutting.find(context.model, phase.trainable, example)
    if cut is None:
        return Way("images", None, "no frozen prefix that can be cut off")
    if phase.config.probe is not None:
        return Way("probe", cut, "")
    return Way("features", cut, "")


def run_phase(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Fit one phase; afterwards ``context.model`` carries its best-on-validation weights."""
    strategy.freeze(context.model, phase)
    before = weights.digest(_frozen(context.model, phase))
    outcome = _probe(context, phase, way) if way.kind == "probe" else _gradient(context, phase, index, way)
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


def extractor(context: Context, cut: cutting.Cut) -> Extractor:
    """The frozen prefix of ``cut`` over this run's cache."""
    cache = None if context.config.cache_dir is None else Path(context.config.cache_dir)
    return Extractor(cut, context.preprocess(), context.transform, context.config.hardware, cache)


def _probe(context: Context, phase: "Phase", way: Way) -> Outcome:
    """Fit the head on features in one solve, and copy it into the network."""
    import torch

    assert way.cut is not None
    assert phase.config.probe is not None
    extract = extractor(context, way.cut)
    train = extract(context.data.train, "training images").flatten(1).to(context.device)
    val = extract(context.data.val, "validation images").flatten(1).to(context.device)
    head: Any = context.model.get_classifier()
    began = time.monotonic()
    probe = configs.build(phase.config.probe)
    labels, val_labels = (part.labels.to(context.device) for part in (context.data.train, context.data.val))
    fitted = probe.fit(train, labels, val, val_labels, len(context.data.classes))
    with torch.no_grad():
        head.weight.copy_(fitted.weight.reshape(head.weight.shape))
        head.bias.copy_(fitted.bias)
    seconds = time.monotonic() - began
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
        phase.name,
        "probe",
        way.cut.at,
        0,
        len(labels),
        extract.cost.rows,
        seconds,
        extract.cost,
        fitted.probabilities,
        details,
    )


def _gradient(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Gradient steps under Lightning, on images or on the features of the frozen prefix."""
    from dataclasses import replace

    from headstart.data.loading import loader
    from headstart.module import Keeper, PhaseModule, trainer

    config, data = context.config, context.data
    train, val, cost = data.train, data.val, Extraction()
    network, preprocess = context.model, None
    if way.cut is not None:
        extract = extractor(context, way.cut)
        train = replace(train, images=extract(train, "training images"))
        val = replace(val, images=extract(val, "validation images"))
        network, cost = way.cut.rest, extract.cost
    else:
        preprocess = context.preprocess(config.augment if phase.config.augment else None)
    epochs = phase.config.epochs
    assert epochs is not None
    optimizer = config.optimizer | ({"lr": phase.config.lr} if phase.config.lr else {})
    groups = strategy.optimizer_groups(context.model, phase, optimizer["lr"], optimizer.get("weight_decay"))
    module = PhaseModule(network, preprocess, groups, replace(config, optimizer=optimizer), index, len(data.classes))
    best = context.run.checkpoints / phase.name / "best.safetensors"
    keeper = Keeper(context.model, phase.name, config.select, best, context.run_log)
    began = time.monotonic()
    common: dict[str, Any] = {
        "seed": config.seed,
        "phase": phase.name,
        "workers": config.hardware.workers,
        "pin_memory": context.device.type == "cuda",
    }
    trainer(config, epochs, context.run.folder, [keeper]).fit(
        module,
        loader(train, config.data.batch_size, shuffle=True, **common),
        loader(val, config.data.batch_size, shuffle=False, **common),
    )
    context.model.to(context.device)  # Lightning leaves it on the CPU
    weights.load(context.model, best)
    images = epochs * len(train.labels)
    live = epochs * (len(train.labels) + len(val.labels)) if way.cut is None else cost.rows
    return Outcome(
        phase.name,
        way.kind,
        way.cut.at if way.cut else None,
        epochs,
        images,
        live,
        time.monotonic() - began,
        cost,
        details={"best_epoch": keeper.best_epoch},
    )


def logits(context: Context, part: str, way: Way) -> "tuple[torch.Tensor, Extraction]":
    """The network's outputs [n, classes] on a part of the data; through cached features where the phase had them."""
    pixels, data = getattr(context.data, part), context.data
    if way.cut is not None:
        extract = extractor(context, way.cut)
        features = extract(pixels, f"{part} images")
        rest = way.cut.rest

        def rows(start: int, stop: int) -> "torch.Tensor":
            return features[start:stop]

        return infer(rest, rows, len(features), context.config.hardware, part, batch_size=1024).float(), extract.cost
    preprocess = context.preprocess().eval()

    def batch(start: int, stop: int) -> "torch.Tensor":
        return preprocess(pixels.images[start:stop].to(context.device))

    network = cutting.folded(context.model.eval()).to(memory_format=hardware.memory_format(context.config.hardware))
    size = images_per_batch(data.image_size, context.device)
    return infer(
        network, batch, len(pixels.labels), context.config.hardware, part, batch_size=size
    ).float(), Extraction()
