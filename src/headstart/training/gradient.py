"""A phase that learns by gradient under Lightning, on images or on the features of its frozen prefix."""

import logging
import math
import shutil
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch import nn

from headstart.config.instantiate import build
from headstart.config.schema import to_plain
from headstart.context import Context
from headstart.data.loader import Pixels, make_loader
from headstart.distributed import comm
from headstart.errors import Pruned, as_user_error
from headstart.features.extractor import Extractor, open_extractor
from headstart.features.views import extract_training_features
from headstart.models import weights
from headstart.runtime import signals
from headstart.search.prune import Pruner, Verdict, record
from headstart.storage import checkpoints
from headstart.storage.records import make_damage_error
from headstart.strategy.plan import Phase, optimizer_groups
from headstart.strategy.route import Route
from headstart.tracking import progress
from headstart.training.best import BestWeights
from headstart.training.callbacks import PhaseMonitor
from headstart.training.ema import WeightAverage
from headstart.training.loss import TrainingLoss, class_weights
from headstart.training.module import PhaseModule, PhaseSettings
from headstart.training.outcome import FittedPhase, Outcome
from headstart.training.trainer import make_trainer

log = logging.getLogger(__name__)


def fit_by_gradient(context: Context, phase: Phase, index: int, route: Route) -> FittedPhase:
    """Fit one phase; afterwards `context.model` has the weights that were best on validation."""
    settings = make_settings(context, phase, index)
    extractor = None if route.split is None else open_extractor(context, route.split)
    train, val, network, preprocess = prepare_input(context, phase, route, extractor)
    groups = optimizer_groups(context.model, phase, settings.optimizer["lr"], settings.optimizer.get("weight_decay"))
    average = None if phase.config.average is None else WeightAverage(network, phase.config.average)
    module = PhaseModule(
        phase,
        network,
        preprocess,
        groups,
        settings,
        make_loss(context, phase),
        validated=None if average is None else average.module,
    )
    batches, val_batches = make_loaders(context, phase, route, train, val)
    monitor = _make_monitor(context, phase, average, batches)
    assert phase.config.epochs is not None
    callbacks = _make_callbacks(context, phase, average, monitor)
    trainer = make_trainer(context.config.hardware, phase.config.epochs, context.run.folder, callbacks)
    trainer.num_sanity_val_steps = math.inf if _is_start_fitted(context, index) else 0
    _fit(context, trainer, module, batches, val_batches, monitor)
    if monitor.verdict is not None:
        raise _prune(context, monitor.verdict)
    images = len(context.data.train)
    outcome = Outcome(
        phase=phase.name,
        kind=route.name,
        cut_at=route.split.at if route.split else None,
        epochs=monitor.epochs,
        images=monitor.epochs * images,
        live_forwards=0 if route.split else monitor.epochs * (images + len(val)) + len(val) * bool(monitor.start),
        seconds=monitor.seconds,
        extractions={} if extractor is None else dict(extractor.costs),
        details={"best_epoch": monitor.best.epoch} | ({"start": monitor.start} if monitor.start else {}),
        earlier_seconds=monitor.earlier_seconds,
    )
    return FittedPhase(outcome, extractor)


def _make_monitor(context: Context, phase: Phase, average: WeightAverage | None, batches: Any) -> PhaseMonitor:
    """Make what watches the phase: its best weights, checkpoints, curves, and whether it is pruned."""
    best = BestWeights(
        context.model,
        context.best_weights(phase.name),
        select=context.config.select,
        patience=context.config.patience,
        with_saved_weights=nullcontext if average is None else average.use_average,
    )
    return PhaseMonitor(
        phase=phase.name,
        best=best,
        run_log=context.run_log,
        batches=batches.sampler,
        checkpoint_every=context.config.checkpoint_every,
        raise_if_lost=context.run.raise_if_lost,
        pruner=_make_pruner(context, phase),
    )


def _fit(
    context: Context,
    trainer: pl.Trainer,
    module: PhaseModule,
    batches: Any,
    val_batches: Any,
    monitor: PhaseMonitor,
) -> None:
    """Train from the newest checkpoint, if there is one, and put the best weights into the network."""
    with signals.defer_signals():
        newest = comm.all_gather(checkpoints.find_newest(monitor.folder) if comm.is_first() else None)[0]
        if newest is not None:
            trainer.num_sanity_val_steps = 0  # the checkpoint knows how good the start was
        try:
            work = monitor.work
            work.total = (trainer.max_epochs or 0) * len(batches)
            with progress.show(work):
                trainer.fit(module, batches, val_batches, ckpt_path=newest)
        except Exception as error:
            if newest is None or monitor.has_begun or as_user_error(error) is not None:
                raise
            raise make_damage_error(newest, error) from error
        except SystemExit:  # Lightning raises this for a signal that came after the last step
            signals.raise_if_stopped()
            raise KeyboardInterrupt from None  # Ctrl-C outside of `raise_on_signals`
    context.model.to(context.device)  # Lightning leaves it on the CPU
    comm.barrier()  # rank 0 has written the best weights
    monitor.best.load()


def _make_pruner(context: Context, phase: Phase) -> Pruner | None:
    if context.config.prune == "none":
        return None
    return Pruner(context.config.prune, context.run.folder, to_plain(context.config), phase.name)


def _prune(context: Context, verdict: Verdict) -> Pruned:
    """End the run as pruned; of its weights nothing is kept, and no test image has been looked at."""
    if comm.is_first():
        context.run.update_state(status="pruned", pruned=record(verdict), done=[])
        for path in context.run.checkpoints.glob("*/"):
            shutil.rmtree(path, ignore_errors=True)
    return Pruned(str(verdict), verdict.accuracy)


def _is_start_fitted(context: Context, index: int) -> bool:
    """Whether the head that a phase starts from was fitted to these classes, so that the start counts as epoch 0.

    That is so after another phase, and with the head of another run (`headstart.models.factory.create`). A new head is
    random: after a few epochs at chance level an untrained network would be handed on, and validating it costs a pass.
    """
    config = context.config
    if index > 0:
        return True
    pretrained = config.strategy.start == "pretrained"
    return pretrained and weights.read_classes(config.model.weights) == list(context.data.classes)


def make_settings(context: Context, phase: Phase, index: int) -> PhaseSettings:
    """The run's settings with the phase's own learning rate and weight decay."""
    config = context.config
    own = {"lr": phase.config.lr, "weight_decay": phase.config.weight_decay}
    return PhaseSettings(
        optimizer=config.optimizer | {key: value for key, value in own.items() if value is not None},
        scheduler=config.scheduler,
        hardware=config.hardware,
        batch_size=config.data.batch_size,
        select=config.select,
        seed=config.seed,
        index=index,
    )


def prepare_input(
    context: Context, phase: Phase, route: Route, extractor: Extractor | None
) -> tuple[Pixels, Pixels, nn.Module, nn.Module | None]:
    """Training and validation data, the network for them, and the preprocessing if the data are images."""
    train, val = context.data.train, context.data.val
    if extractor is None or route.split is None:
        augment = None if phase.config.augment is False else context.config.augment
        return train, val, context.model, context.preprocess(augment)
    features, labels = extract_training_features(context, phase.name, route.split, route.views, extractor)
    val_features = extractor(val, "val")
    learned = Pixels(features, labels, train.ids, train.names)
    return learned, Pixels(val_features, val.labels, val.ids, val.names), route.split.rest, None


def make_loaders(context: Context, phase: Phase, route: Route, train: Pixels, val: Pixels) -> tuple[Any, Any]:
    """Make the loader of training batches, shuffled again in each epoch, and the loader of validation batches."""
    config = context.config
    common: dict[str, Any] = {
        "seed": config.seed,
        "phase": phase.name,
        "workers": config.hardware.workers,
        "pin_memory": context.device.type == "cuda",
    }
    balanced = config.data.sampling == "balanced"
    batches = make_loader(
        train, config.data.batch_size, shuffle=True, views=max(1, route.views), balanced=balanced, **common
    )
    if config.hardware.compile and not batches.sampler.has_whole_batch:  # type: ignore[attr-defined] # `Batches`
        log.info("  %s: nothing is compiled, because no batch has %d images", phase.name, config.data.batch_size)
    return batches, make_loader(val, config.data.batch_size, shuffle=False, **common)


def make_loss(context: Context, phase: Phase) -> TrainingLoss:
    config, classes = context.config, len(context.data.classes)
    labels = context.data.train.labels
    penalty = None
    if phase.config.penalty is not None:
        learning = {name: value for name, value in context.model.named_parameters() if name in phase.trainable}
        penalty = partial(build("penalty", phase.config.penalty), learning, context.pretrained)
    return TrainingLoss(
        classes,
        config.label_smoothing,
        class_weights(labels, classes) if config.class_weights == "balanced" else None,
        None if phase.config.augment is False else config.augment,
        penalty,
    )


def _make_callbacks(
    context: Context, phase: Phase, average: WeightAverage | None, monitor: PhaseMonitor
) -> list[pl.Callback]:
    """Make the callbacks; `PhaseMonitor` comes last, because its checkpoints must hold the state of the others."""
    made: list[pl.Callback] = [average] if average else []
    watching = [measure.watch(context.model, context.run.folder, phase.name) for measure in context.measures]
    return [*made, monitor, *filter(None, watching)]
