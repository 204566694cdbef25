"""Which values keys may have, each alone and several together; nothing here imports torch."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Any

from headstart.config import own_code
from headstart.config.names import find_name_problems
from headstart.config.ranges import (
    ABOVE_ZERO,
    CHOICES,
    RANGES,
    describe_range,
    find_budget_problem,
    find_fold_problem,
    find_range_problem,
)
from headstart.config.rates import parse_rates
from headstart.config.schema import (
    FIND,
    AugmentConfig,
    DataConfig,
    PhaseConfig,
    RunConfig,
    StrategyConfig,
    is_random,
    mixes,
    takes_common_rate,
)
from headstart.config.words import count
from headstart.errors import UserError, did_you_mean


def find_value_problems(config: RunConfig) -> Iterator[str]:
    """Find wrong values in a typed config: of each key alone, and of several together."""
    for key, choices in CHOICES.items():
        value = attrgetter(key)(config)
        if value not in choices:
            yield f"{key}={value}: must be {describe_range(key)}{did_you_mean(str(value), choices)}"
    for key in (*RANGES, *ABOVE_ZERO):
        value = attrgetter(key)(config)
        if key == "data.split_seed" and value == config.seed:
            continue  # it is the seed, which is already reported
        if (problem := find_range_problem(key, value)) is not None:
            yield problem
    if config.hardware.devices == 0:
        yield "hardware.devices=0: must be 1 or more, or -1 for all of them"
    if config.hardware.allow_bf16 and not (config.hardware.tune and config.hardware.precision == "auto"):
        yield (
            "hardware.allow_bf16=true: has an effect on hardware.tune only; set hardware.tune=true and leave "
            "hardware.precision=auto, or set hardware.precision=bf16"
        )
    yield from own_code.check_names(config.imports or ())
    yield from _data_problems(config.data, config.augment, config.class_weights)
    yield from _optimizer_problems(config.optimizer)
    yield from _learning_rate_problems(config.learning_rate, config.strategy)
    if config.strategy.start == "pretrained" and config.model.weights == "none":
        yield (
            f"strategy={config.strategy.name} starts from pretrained weights, but model.weights=none: "
            "use strategy=scratch, strategy.start=scratch, or give the model weights"
        )
    yield from _strategy_problems(config.strategy, config.augment, config.scheduler, config.epochs)
    yield from find_name_problems(config)


def _data_problems(data: DataConfig, augment: AugmentConfig, class_weights: str) -> Iterator[str]:
    for problem in (find_budget_problem(vars(data)), find_fold_problem(data.folds, data.fold)):
        if problem is not None:
            yield problem
    if data.pixel_range is not None and not -float("inf") < data.pixel_range[0] < data.pixel_range[1] < float("inf"):
        yield f"data.pixel_range={list(data.pixel_range)}: must be two numbers, that of black first: [0,4095]"
    for name in ("crop_scale", "crop_ratio"):
        low, high = getattr(augment, name)
        if not 0 < low <= high < float("inf"):
            yield f"augment.{name}=[{low}, {high}]: must be two numbers above 0, the smaller first"
    if augment.crop_scale[1] > 1:
        yield f"augment.crop_scale={list(augment.crop_scale)}: a crop cannot be larger than the image (1.0)"
    if data.group is not None:
        yield from _group_problems(data.group)
    if data.sampling == class_weights == "balanced":
        yield "class_weights=balanced and data.sampling=balanced both correct for imbalance: use one of them"
    if augment.flip and not data.flip:
        yield "augment.flip=true, but data.flip=false: these images change their meaning when mirrored"


def _group_problems(group: str) -> Iterator[str]:
    """Problems of `data.group`: the name of a column, or regex: and a pattern."""
    kind, found, pattern = group.partition(":")
    if not group.strip() or (kind == "regex" and not pattern):
        yield f"data.group={group!r}: must be the name of a table's column, or regex: and a pattern on paths"
    elif kind == "regex" and found:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"data.group={group}: the pattern is no regular expression: {error}"


def _optimizer_problems(optimizer: Mapping[str, Any]) -> Iterator[str]:
    lr, decay = optimizer.get("lr"), optimizer.get("weight_decay", 0)
    if not _is_positive(lr):
        yield f"optimizer.lr={lr}: must be a number above 0"
    if not isinstance(decay, int | float) or decay < 0:
        yield f"optimizer.weight_decay={decay}: must be a number, 0 or above"


def _learning_rate_problems(asked: str | None, strategy: StrategyConfig) -> Iterator[str]:
    """Problems of `learning_rate=find`: another value, or no phase that learns at the rate that would be found."""
    if asked not in (None, FIND):
        yield f"learning_rate={asked}: must be find, or null; a number is set by optimizer.lr={asked}"
    elif asked == FIND and not any(map(takes_common_rate, strategy.phases.values())):
        why = "fits a head" if all(phase.probe is not None for phase in strategy.phases.values()) else "has its own lr"
        yield (
            f"learning_rate=find: each phase of strategy={strategy.name} {why}, so none learns at optimizer.lr: leave "
            "learning_rate out, or take a strategy that learns by gradient, such as strategy=finetune"
        )


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _strategy_problems(
    strategy: StrategyConfig, augment: AugmentConfig, scheduler: Mapping[str, Any], epochs: int
) -> Iterator[str]:
    if not strategy.phases:
        yield "strategy.phases is empty: a strategy needs at least one phase"
    for name, phase in strategy.phases.items():
        key = f"strategy.phases.{name}"
        if not re.fullmatch(r"\w+", name):
            yield f"{key}: a phase's name is a folder's name: use letters, digits and _ only"
        yield from _phase_problems(key, phase, augment)
        if phase.probe is not None:
            yield from _probe_problems(key, phase)
        else:
            yield from _gradient_problems(key, phase, augment)
            yield from _schedule_problems(key, phase, scheduler)
            if phase.epochs is not None and phase.epochs < 1 and phase.epochs != epochs:  # else `epochs` is reported
                yield f"{key}.epochs={phase.epochs}: must be at least 1; '~{key}' leaves the phase out"


def _phase_problems(key: str, phase: PhaseConfig, augment: AugmentConfig) -> Iterator[str]:
    """Problems that any phase can have, with a probe or by gradient."""
    if (phase.epochs is None) == (phase.probe is None):
        yield f"{key}: give it either epochs (it learns by gradient) or a probe (its head is fitted), not both"
    if phase.statistics not in ("live", "frozen"):
        yield f"{key}.statistics={phase.statistics}: must be one of live, frozen"
    if phase.views is not None:
        if phase.views < 1:
            yield f"{key}.views={phase.views}: must be at least 1"
        if phase.augment is False or not is_random(augment):
            yield f"{key}.views={phase.views}: views differ by augmentation, and there is none: use augment=standard"
        if mixes(augment) and phase.augment is not False:
            yield f"{key}.views={phase.views}: cached views are not mixed: set augment.mixup=0 augment.cutmix=0"
        if not phase.cache:
            yield f"{key}.views={phase.views}: is how many views are cached, but {key}.cache=false"
    try:
        parse_rates(phase.rates, f"{key}.rates")
    except UserError as error:
        yield str(error)


def _probe_problems(key: str, phase: PhaseConfig) -> Iterator[str]:
    if phase.augment and phase.views is None:
        yield (
            f"{key}.augment=true: a probe is fitted on cached features; give {key}.views=8 of each image, leave "
            f"augment out, or train by gradient: {key}.probe=null {key}.epochs=10"
        )
    for name in ("penalty", "average", "lr", "weight_decay"):
        if getattr(phase, name) is not None:
            yield f"{key}.{name}: is for phases that learn by gradient; this one fits a probe: leave {name} out"
    if phase.statistics == "frozen":
        yield f"{key}.statistics=frozen: a probe leaves batch norms alone anyway: leave statistics out"
    if not phase.cache:
        yield f"{key}.cache=false: a probe is fitted on cached features: leave cache out"
    with suppress(UserError):  # already reported
        if any(rule.rate is not None and rule.selector != "head" for rule in parse_rates(phase.rates)):
            yield f"{key}: a probe fits the head alone: its rates must be {{head: 1, backbone: null}}"


def _gradient_problems(key: str, phase: PhaseConfig, augment: AugmentConfig) -> Iterator[str]:
    if phase.augment and phase.views is None and not (is_random(augment) or mixes(augment)):
        yield f"{key}.augment=true: there is no augmentation: use augment=standard, or {key}.augment=null to cache"
    if phase.lr is not None and not _is_positive(phase.lr):
        yield f"{key}.lr={phase.lr}: must be a number above 0"
    if phase.weight_decay is not None and phase.weight_decay < 0:
        yield f"{key}.weight_decay={phase.weight_decay}: must be a number, 0 or above"
    if phase.average is not None and not 0 < phase.average < 1:
        yield f"{key}.average={phase.average}: the decay of an average must be above 0 and below 1, such as 0.998"


def _schedule_problems(key: str, phase: PhaseConfig, scheduler: Mapping[str, Any]) -> Iterator[str]:
    warmup, epochs = scheduler.get("warmup_epochs") or 0, phase.epochs or 0
    if scheduler.get("sched") != "none" and _is_positive(warmup) and 0 < epochs <= warmup:
        fix = f"scheduler.warmup_epochs={epochs - 1}" if epochs > 1 else "scheduler=cosine"
        yield f"scheduler.warmup_epochs={warmup}: {key} has {count(epochs, 'epoch')}; use {fix}, or more epochs"
