"""A phase that learns by gradient under Lightning, on images or on the features of its frozen prefix."""

import logging
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn

from headstart.config.instantiate import build
from headstart.context import Context
from headstart.data.loader import Pixels, make_loader
from headstart.distributed import comm
from headstart.errors import as_user_error
from headstart.features.extractor import Extractor, open_extractor
from headstart.features.views import extract_training_features
from headstart.models import weights
from headstart.runtime import signals
from headstart.storage import checkpoints
from headstart.storage.records import make_damage_error
from headstart.strategy.plan import Phase, optimizer_groups
from headstart.strategy.route import Route
from headstart.training.callbacks import PhaseMonitor
from headstart.training.ema import WeightAverage
from headstart.training.loss import TrainingLoss, class_weights
from headstart.training.module import PhaseModule, PhaseSettings
from headstart.training.outcome import FittedPhase, Outcome
from headstart.training.trainer import make_trainer

log = logging.getLogger(__name__)


def fit_by_gradient(context: Context, phase: Phase, index: int, route: Route) -> FittedPhase:
    """Fit one phase; afterwards `context.model` has the weights that were best on validation."""
    settings = _make_settings(context, phase, index)
    extractor = None if route.split is None else open_extractor(context, route.split)
    train, val, network, preprocess = _prepare_input(context, phase, route, extractor)
    groups = optimizer_groups(context.model, phase, settings.optimizer["lr"], settings.optimizer.get("weight_decay"))
    average = None if phase.config.average is None else WeightAverage(network, phase.config.average)
    module = PhaseModule(
        phase,
        network,
        preprocess,
        groups,
        settings,
        _make_loss(context, phase),
        validated=None if average is None else average.module,
    )
    batches, val_batches = _make_loaders(context, phase, route, train, val)
    if settings.hardware.compile and not batches.sampler.has_whole_batch:
        log.info("  %s: nothing is compiled, because no batch has %d images", phase.name, settings.batch_size)
    best = context.best_weights(phase.name)
    options = {} if average is None else {"with_saved_weights": average.use_average}
    monitor = PhaseMonitor(
        model=context.model,
        phase=phase.name,
        select=context.config.select,
        folder=best.parent,
        run_log=context.run_log,
        batches=batches.sampler,
        checkpoint_every=context.config.checkpoint_every,
        **options,
    )
    callbacks = _make_callbacks(context, phase, average, monitor)
    assert phase.config.epochs is not None
    _fit(context, module, phase.config.epochs, callbacks, batches, val_batches, monitor)
    images = len(context.data.train)
    outcome = Outcome(
        phase=phase.name,
        kind=route.name,
        cut_at=route.split.at if route.split else None,
        epochs=monitor.epochs,
        images=monitor.epochs * images,
        live_forwards=0 if route.split else monitor.epochs * (images + len(val)),
        seconds=monitor.seconds,
        extractions={} if extractor is None else dict(extractor.costs),
        details={"best_epoch": monitor.best_epoch},
        earlier_seconds=monitor.earlier_seconds,
    )
    return FittedPhase(outcome, extractor)


def _fit(
    context: Context,
    module: PhaseModule,
    epochs: int,
    callbacks: list[pl.Callback],
    batches: Any,
    val_batches: Any,
    monitor: PhaseMonitor,
) -> None:
    """Train from the newest checkpoint, if there is one, and put the best weights into the network."""
    with signals.defer_signals():
        newest = comm.all_gather(checkpoints.find_newest(monitor.folder) if comm.is_first() else None)[0]
        trainer = make_trainer(context.config.hardware, epochs, context.run.folder, callbacks)
        try:
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
    weights.load(context.model, monitor.folder / weights.BEST)


def _make_settings(context: Context, phase: Phase, index: int) -> PhaseSettings:
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


def _prepare_input(
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


def _make_loaders(context: Context, phase: Phase, route: Route, train: Pixels, val: Pixels) -> tuple[Any, Any]:
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
    return batches, make_loader(val, config.data.batch_size, shuffle=False, **common)


def _make_loss(context: Context, phase: Phase) -> TrainingLoss:
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
    config = context.config
    made: list[pl.Callback] = [average] if average else []
    if config.patience is not None:
        mode = "max" if config.select == "val_accuracy" else "min"
        rule = EarlyStopping(
            config.select,
            patience=config.patience,
            mode=mode,
            check_finite=False,
            check_on_train_epoch_end=False,  # else Lightning calls it after `PhaseMonitor`
        )
        made.append(rule)
    watching = [measure.watch(context.model, context.run.folder, phase.name) for measure in context.measures]
    return [*made, monitor, *filter(None, watching)]
