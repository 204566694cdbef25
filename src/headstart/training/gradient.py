"""A phase that learns by gradient under Lightning, on images or on the features of its frozen prefix."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn

from headstart.config import instantiate
from headstart.config.schema import RunConfig
from headstart.context import Context
from headstart.data.loader import Pixels, loader
from headstart.distributed import comm
from headstart.models import weights
from headstart.runtime import signals
from headstart.storage import checkpoints
from headstart.strategy import plan
from headstart.strategy.plan import Phase
from headstart.strategy.route import Way
from headstart.training.callbacks import PhaseMonitor, make_trainer
from headstart.training.ema import WeightAverage
from headstart.training.loss import TrainingLoss, class_weights
from headstart.training.module import PhaseModule
from headstart.training.phases import Outcome


def fit_by_gradient(context: Context, phase: Phase, index: int, way: Way) -> Outcome:
    """Fit one phase; afterwards ``context.model`` carries its best-on-validation weights."""
    config = _settled(context.config, phase)
    train, val, network, preprocess = _input(context, phase, way)
    groups = plan.optimizer_groups(context.model, phase, config.optimizer["lr"], config.optimizer.get("weight_decay"))
    average = None if phase.config.average is None else WeightAverage(network, phase.config.average)
    validated = None if average is None else average.module
    module = PhaseModule(phase, network, preprocess, groups, config, index, _objective(context, phase), validated)
    drawn, check = _loaders(context, phase, way, train, val)
    best = context.best_weights(phase)
    keeper = PhaseMonitor(
        context.model,
        phase.name,
        config.select,
        best.parent,
        context.run_log,
        drawn.sampler,
        config.checkpoint_every,
        *([average.exchanged] if average else []),
    )
    callbacks = _callbacks(context, phase, average, keeper)
    with signals.defer_signals():
        before = comm.all_gather(checkpoints.newest(best.parent) if comm.is_first() else None)[0]
        assert phase.config.epochs is not None
        try:
            make_trainer(config, phase.config.epochs, context.run.folder, callbacks).fit(
                module, drawn, check, ckpt_path=before
            )
        except SystemExit:  # Lightning's answer to a signal that came after the last step
            signals.raise_if_stopped()
            raise KeyboardInterrupt from None  # Ctrl-C, where no `stopping.heeded` has taken it over
    context.model.to(context.device)  # Lightning leaves it on the CPU
    comm.barrier()  # rank 0 has written the best weights
    weights.load(context.model, best)
    images = len(context.data.train)
    return Outcome(
        phase.name,
        way.kind,
        way.cut.at if way.cut else None,
        keeper.epochs,
        keeper.epochs * images,
        0 if way.cut else keeper.epochs * (images + len(val)),
        keeper.seconds,
        dict(way.extractor.costs) if way.extractor else {},
        details={"best_epoch": keeper.best_epoch},
        earlier=keeper.earlier,
    )


def _settled(config: RunConfig, phase: Phase) -> RunConfig:
    """The config with the phase's own learning rate and weight decay."""
    own = {"lr": phase.config.lr, "weight_decay": phase.config.weight_decay}
    return replace(config, optimizer=config.optimizer | {key: value for key, value in own.items() if value is not None})


def _input(context: Context, phase: Phase, way: Way) -> tuple[Pixels, Pixels, nn.Module, nn.Module | None]:
    """What the phase trains and is validated on, the network that takes it, and what images go through before."""
    train, val = context.data.train, context.data.val
    if way.cut is None:
        augment = None if phase.config.augment is False else context.config.augment
        return train, val, context.model, context.preprocess(augment)
    features, labels = way.training_features(context, phase)
    checked = way.extract(context)(val, "val")
    learned = Pixels(features, labels, train.ids, train.names)
    return learned, Pixels(checked, val.labels, val.ids, val.names), way.cut.rest, None


def _loaders(context: Context, phase: Phase, way: Way, train: Pixels, val: Pixels) -> tuple[Any, Any]:
    """Batches to learn from, drawn anew each epoch, and batches to validate on."""
    config = context.config
    common: dict[str, Any] = {
        "seed": config.seed,
        "phase": phase.name,
        "workers": config.hardware.workers,
        "pin_memory": context.device.type == "cuda",
    }
    evened = config.data.sampling == "balanced"
    drawn = loader(train, config.data.batch_size, shuffle=True, views=max(1, way.views), balanced=evened, **common)
    return drawn, loader(val, config.data.batch_size, shuffle=False, **common)


def _objective(context: Context, phase: Phase) -> TrainingLoss:
    config, classes = context.config, len(context.data.classes)
    labels = context.data.train.labels
    penalty = None
    if phase.config.penalty is not None:
        learning = {name: value for name, value in context.model.named_parameters() if name in phase.trainable}
        penalty = partial(instantiate.build(phase.config.penalty), learning, context.pretrained)
    return TrainingLoss(
        classes,
        config.label_smoothing,
        class_weights(labels, classes) if config.class_weights == "balanced" else None,
        None if phase.config.augment is False else config.augment,
        penalty,
    )


def _callbacks(
    context: Context, phase: Phase, average: WeightAverage | None, keeper: PhaseMonitor
) -> list[pl.Callback]:
    """In this order: a checkpoint, which `Keeper` writes, holds what those before it know by then."""
    config = context.config
    made: list[pl.Callback] = [average] if average else []
    if config.patience is not None:
        mode = "max" if config.select == "val_accuracy" else "min"
        rule = EarlyStopping(
            config.select,
            patience=config.patience,
            mode=mode,
            check_finite=False,
            check_on_train_epoch_end=False,  # else Lightning asks it after all others, `Keeper` too
        )
        made.append(rule)
    watching = [measure.watch(context, phase.name) for measure in context.measures]
    return [*made, keeper, *filter(None, watching)]
