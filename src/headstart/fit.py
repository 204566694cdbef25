"""Phases as separate fits in one process: a probe on features, or gradient steps on features or on images."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart import config as configs
from headstart import strategy
from headstart.data import Data, is_random
from headstart.data.augment import Preprocess
from headstart.errors import UserError
from headstart.features import Extractor
from headstart.models import cut as cutting
from headstart.models import weights

if TYPE_CHECKING:
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
    device: torch.device
    digests: dict[str, str | None]  # of the data's and the weights' content, for `result.json`

    def preprocess(self, augment: Any = None) -> Preprocess:
        """uint8 images to this network's input, on its device."""
        return Preprocess(self.data.image_size, self.input.mean, self.input.std, augment).to(self.device)

    @property
    def features_identity(self) -> dict[str, Any]:
        """What features depend on besides the pixels and the prefix's tensors."""
        return {
            "model": self.config.model.name,
            "args": self.config.model.args,
            "image_size": self.data.image_size,
            "stored_size": self.data.stored_size,
            "interpolation": self.data.interpolation,
            "mean": self.input.mean,
            "std": self.input.std,
        }


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
    probabilities: bool = True  # whether the logits are log-probabilities: not for a ridge head
    details: dict[str, Any] | None = None


@dataclass
class Way:
    """How a phase goes about its work: computed from its rates and its input, never configured."""

    kind: str
    cut: cutting.Cut | None
    why: str
    extractor: Extractor | None = None

    def extract(self, context: Context) -> Extractor:
        """The frozen prefix over this run's cache; made once, when the weights are those that the phase starts from."""
        assert self.cut is not None
        if self.extractor is None:
            cache = None if context.config.cache_dir is None else Path(context.config.cache_dir)
            self.extractor = Extractor(
                self.cut, context.preprocess(), context.features_identity, context.config.hardware, cache
            )
        return self.extractor


def way(context: Context, phase: "Phase") -> Way:
    """Whether the frozen prefix of a phase can run once per image, and where it ends.

    Raises:
        UserError: a probe is asked for, but the network cannot be cut at its head.
    """
    probe = phase.config.probe is not None
    if not probe and phase.config.augment and is_random(context.config.augment):
        return Way("images", None, "images are augmented anew each epoch")
    side = context.data.image_size
    example = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(context.device)
    cut = cutting.find(context.model, phase.trainable, example)
    if probe:
        head = context.model.get_classifier()
        with torch.no_grad():
            found = None if cut is None else cut.prefix.eval()(example).flatten(1).shape[1]
        if cut is None or found != head.weight[0].numel():
            raise UserError(
                f"strategy.phases.{phase.name}.probe: {context.config.model.name} cannot be cut at its head; train it "
                f"by gradient: strategy.phases.{phase.name}.probe=null strategy.phases.{phase.name}.epochs=10"
            )
        return Way("probe", cut, "")
    return Way("images", None, "no frozen prefix that can be cut off") if cut is None else Way("features", cut, "")


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


def best_weights(context: Context, phase: "Phase") -> Path:
    """Where a phase leaves the weights that it hands on."""
    return context.run.checkpoints / phase.name / "best.safetensors"


def _probe(context: Context, phase: "Phase", way: Way) -> Outcome:
    """Fit the head on features in one solve, and copy it into the network."""
    assert way.cut is not None
    assert phase.config.probe is not None
    extract = way.extract(context)
    train = extract(context.data.train, "training images").flatten(1).to(context.device)
    val = extract.of_validation(context.data.val).flatten(1).to(context.device)
    head: Any = context.model.get_classifier()
    began = time.monotonic()
    probe = configs.build(phase.config.probe)
    labels, val_labels = (part.labels.to(context.device) for part in (context.data.train, context.data.val))
    fitted = probe.fit(train, labels, val, val_labels, len(context.data.classes))
    with torch.no_grad():
        head.weight.copy_(fitted.weight.reshape(head.weight.shape))
        head.bias.copy_(fitted.bias)
    seconds = time.monotonic() - began
    weights.save(context.model, best_weights(context, phase))
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
    return Outcome(phase.name, "probe", way.cut.at, 0, 0, 0, seconds, fitted.probabilities, details)


def _gradient(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Gradient steps under Lightning, on images or on the features of the frozen prefix."""
    from headstart.data.loading import Pixels, loader
    from headstart.module import Keeper, PhaseModule, trainer

    config, data = context.config, context.data
    train, val = data.train, data.val
    network, preprocess = context.model, None
    if way.cut is not None:
        extract = way.extract(context)
        train = Pixels(extract(train, "training images"), train.labels, train.ids, train.names)
        val = Pixels(extract.of_validation(val), val.labels, val.ids, val.names)
        network = way.cut.rest
    else:
        preprocess = context.preprocess(config.augment if phase.config.augment else None)
    epochs = phase.config.epochs
    assert epochs is not None
    optimizer = config.optimizer | ({"lr": phase.config.lr} if phase.config.lr else {})
    groups = strategy.optimizer_groups(context.model, phase, optimizer["lr"], optimizer.get("weight_decay"))
    module = PhaseModule(network, preprocess, groups, replace(config, optimizer=optimizer), index, len(data.classes))
    best = best_weights(context, phase)
    keeper = Keeper(context.model, phase.name, config.select, best, context.run_log)
    began = time.monotonic()
    common: dict[str, Any] = {
        "seed": config.seed,
        "phase": phase.name,
        "workers": config.hardware.workers,
        "pin_memory": context.device.type == "cuda",
    }
    try:
        trainer(config, epochs, context.run.folder, [keeper]).fit(
            module,
            loader(train, config.data.batch_size, shuffle=True, **common),
            loader(val, config.data.batch_size, shuffle=False, **common),
        )
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    context.model.to(context.device)  # Lightning leaves it on the CPU
    weights.load(context.model, best)
    seconds = time.monotonic() - began
    live = 0 if way.cut else epochs * (len(train) + len(val))
    at, details = way.cut.at if way.cut else None, {"best_epoch": keeper.best_epoch}
    return Outcome(phase.name, way.kind, at, epochs, epochs * len(train), live, seconds, details=details)
