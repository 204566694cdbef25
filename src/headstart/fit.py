"""Phases as separate fits in one process: a probe on features, or gradient steps on features or on images."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from headstart import checkpoints, hardware, ranks, stopping, strategy
from headstart import config as configs
from headstart.context import Context
from headstart.data import is_random
from headstart.errors import UserError
from headstart.features import Extraction, Extractor
from headstart.models import cut as cutting
from headstart.models import weights

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
    if not probe and phase.config.augment is not False and is_random(context.config.augment):
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


def _probe(context: Context, phase: "Phase", way: Way) -> Outcome:
    """Fit the head on features in one solve, and copy it into the network."""
    assert way.cut is not None
    assert phase.config.probe is not None
    extract = way.extract(context)
    train = extract(context.data.train, "train").flatten(1).to(context.device)
    val = extract(context.data.val, "val").flatten(1).to(context.device)
    head: Any = context.model.get_classifier()
    began = time.monotonic()
    probe = configs.build(phase.config.probe)
    labels, val_labels = (part.labels.to(context.device) for part in (context.data.train, context.data.val))
    fitted = probe.fit(train, labels, val, val_labels, len(context.data.classes))
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


def _gradient(context: Context, phase: "Phase", index: int, way: Way) -> Outcome:
    """Gradient steps under Lightning, on images or on the features of the frozen prefix."""
    from headstart.data.loading import Pixels, loader
    from headstart.keeper import Keeper, trainer
    from headstart.module import PhaseModule

    config, data = context.config, context.data
    train, val = data.train, data.val
    network, preprocess = context.model, None
    if way.cut is not None:
        extract = way.extract(context)
        train = Pixels(extract(train, "train"), train.labels, train.ids, train.names)
        val = Pixels(extract(val, "val"), val.labels, val.ids, val.names)
        network = way.cut.rest
    else:
        preprocess = context.preprocess(None if phase.config.augment is False else config.augment)
    epochs = phase.config.epochs
    assert epochs is not None
    optimizer = config.optimizer | ({"lr": phase.config.lr} if phase.config.lr else {})
    groups = strategy.optimizer_groups(context.model, phase, optimizer["lr"], optimizer.get("weight_decay"))
    settled = replace(config, optimizer=optimizer)
    module = PhaseModule(phase.name, network, preprocess, groups, settled, index, len(data.classes))
    common: dict[str, Any] = {
        "seed": config.seed,
        "phase": phase.name,
        "workers": config.hardware.workers,
        "pin_memory": context.device.type == "cuda",
    }
    learn = loader(train, config.data.batch_size, shuffle=True, **common)
    check = loader(val, config.data.batch_size, shuffle=False, **common)
    best = context.best_weights(phase)
    keeper = Keeper(
        context.model,
        phase.name,
        config.select,
        best.parent,
        context.run_log,
        cast(Any, learn.sampler),
        config.checkpoint_every,
    )
    with stopping.deferred(), hardware.memory_kept(config.hardware):
        before = ranks.collected(checkpoints.newest(best.parent) if ranks.leads() else None)[0]
        try:
            callbacks = [keeper, *filter(None, (measure.watch(context, phase.name) for measure in context.measures))]
            trainer(config, epochs, context.run.folder, callbacks).fit(module, learn, check, ckpt_path=before)
        except SystemExit:  # Lightning's answer to a signal that came after the last step
            stopping.check()
            raise KeyboardInterrupt from None  # Ctrl-C, where no `stopping.heeded` has taken it over
    context.model.to(context.device)  # Lightning leaves it on the CPU
    ranks.barrier()  # rank 0 has written the best weights
    weights.load(context.model, best)
    live = 0 if way.cut else epochs * (len(train) + len(val))
    at, details = way.cut.at if way.cut else None, {"best_epoch": keeper.best_epoch}
    extractions = dict(way.extractor.costs) if way.extractor else {}
    return Outcome(
        phase.name,
        way.kind,
        at,
        epochs,
        epochs * len(train),
        live,
        keeper.seconds,
        extractions,
        details=details,
        earlier=keeper.earlier,
    )
