"""A composed config is checked before anything heavy happens; all problems are told at once.

Problems that need no model library are found before torch is imported, the others before any data is read.
"""

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from omegaconf.errors import OmegaConfBaseException

from headstart import config as configs
from headstart import strategy
from headstart.config import ALLOWED_TARGETS, PhaseConfig, RunConfig
from headstart.errors import UserError
from headstart.hardware import ACCELERATORS, MEMORY_FORMATS, PRECISIONS

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Arguments that headstart itself gives.
SCHEDULE = ("optimizer", "num_epochs", "step_on_epochs", "updates_per_epoch")
FACTORY = ("num_classes", "in_chans", "pretrained", "pretrained_cfg", "checkpoint_path", "features_only")
CHOICES = {
    "strategy.start": ("pretrained", "scratch"),
    "select": ("val_accuracy", "val_loss"),
    "hardware.accelerator": ACCELERATORS,
    "hardware.precision": PRECISIONS,
    "hardware.memory_format": MEMORY_FORMATS,
    "logger.mode": ("auto", "online", "offline"),
}
# key: (lowest, highest), both allowed; None is no bound. Keys that may be null are skipped when they are.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, 2**32 - 1),
    "epochs": (1, None),
    "label_smoothing": (0, 0.99),
    "data.image_size": (8, 4096),
    "data.batch_size": (2, None),
    "data.train_per_class": (2, None),
    "data.n_train": (2, None),
    "data.n_test": (1, None),
    "data.split_seed": (0, 2**32 - 1),
    "augment.rotation": (0, 180),
    "augment.color_jitter": (0, 1),
    "augment.erasing": (0, 1),
    "hardware.devices": (1, 1),
    "hardware.accumulate": (1, None),
    "hardware.workers": (0, 256),
    "hardware.threads": (1, 1024),
}
ABOVE_ZERO = ("data.train_fraction", "data.val_fraction", "data.test_fraction", "hardware.clip")
BELOW_ONE = ("data.val_fraction", "data.test_fraction")


def load(composed: "DictConfig") -> RunConfig:
    """The composed config, typed and checked; raises one UserError that lists every problem found without torch."""
    _raise([*unknown(composed), *missing(composed)])
    try:
        config = configs.typed(composed)
    except OmegaConfBaseException as error:
        raise UserError(f"the config cannot be resolved: {str(error).strip()}") from error
    check(config)
    return config


def check(config: RunConfig) -> None:
    """Raise one UserError that lists every problem in the values of a typed config."""
    _raise(list(_problems(config)))


def check_components(config: RunConfig) -> None:
    """Raise one UserError that lists every ``_target_`` that does not exist or does not take its arguments."""
    _raise(list(_component_problems(config)))


def _raise(problems: list[str]) -> None:
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError("\n".join([f"{count} in the config:", *(f"  - {problem}" for problem in problems)]))


def _value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def _problems(config: RunConfig) -> Iterator[str]:
    for key, choices in CHOICES.items():
        value = _value(config, key)
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"{key}={value}: must be one of {', '.join(choices)}{hint}"
    for key, (low, high) in RANGES.items():
        value = _value(config, key)
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            yield f"{key}={value}: must be {'1: a run uses one device' if low == high else bounds}"
    for key in ABOVE_ZERO:
        value = _value(config, key)
        if value is not None and value <= 0:
            yield f"{key}={value}: must be above 0"
        elif value is not None and key in BELOW_ONE and value >= 1:
            yield f"{key}={value}: must be below 1"
    yield from _data_problems(config)
    yield from _optimizer_problems(config)
    yield from _strategy_problems(config)
    for key, text in (
        ("study", config.study),
        ("strategy.name", config.strategy.name),
        ("data.name", config.data.name),
    ):
        if not re.fullmatch(r"[\w.+@-]+", text) or text.startswith("."):
            yield f"{key}={text!r}: is part of a folder's name, so use letters, digits, _ and - only"


def _data_problems(config: RunConfig) -> Iterator[str]:
    data, augment = config.data, config.augment
    cuts = [name for name in ("train_per_class", "train_fraction", "n_train") if getattr(data, name) is not None]
    if len(cuts) > 1:
        yield f"data: {' and '.join(cuts)} both say how much to train on; set one, the others to null"
    if data.train_fraction is not None and data.train_fraction > 1:
        yield f"data.train_fraction={data.train_fraction}: must be at most 1"
    for name in ("crop_scale", "crop_ratio"):
        low, high = getattr(augment, name)
        if not 0 < low <= high:
            yield f"augment.{name}=[{low}, {high}]: must be two numbers above 0, the smaller first"
    if augment.crop_scale[1] > 1:
        yield f"augment.crop_scale={list(augment.crop_scale)}: a crop cannot be larger than the image (1.0)"
    if augment.flip and not data.flip:
        yield "augment.flip=true, but data.flip=false: these images change their meaning when mirrored"


def _optimizer_problems(config: RunConfig) -> Iterator[str]:
    lr, decay = config.optimizer.get("lr"), config.optimizer.get("weight_decay", 0)
    if not _is_positive(lr):
        yield f"optimizer.lr={lr}: must be a number above 0"
    if not isinstance(decay, int | float) or decay < 0:
        yield f"optimizer.weight_decay={decay}: must be a number, 0 or above"
    if config.label_smoothing != config.label_smoothing:
        yield "label_smoothing: is not a number"


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _strategy_problems(config: RunConfig) -> Iterator[str]:
    plan = config.strategy
    if plan.start == "pretrained" and config.model.weights == "none":
        yield (
            f"strategy={plan.name} starts from pretrained weights, but model.weights=none: "
            "use strategy=scratch, strategy.start=scratch, or give the model weights"
        )
    if not plan.phases:
        yield "strategy.phases is empty: a strategy needs at least one phase"
    for name, phase in plan.phases.items():
        key = f"strategy.phases.{name}"
        if not re.fullmatch(r"\w+", name):
            yield f"{key}: a phase's name is a folder's name: use letters, digits and _ only"
        if (phase.epochs is None) == (phase.probe is None):
            yield f"{key}: give it either epochs (it learns by gradient) or a probe (its head is fitted), not both"
        if phase.epochs is not None and phase.epochs < 1:
            yield f"{key}.epochs={phase.epochs}: must be at least 1"
        if phase.lr is not None and not _is_positive(phase.lr):
            yield f"{key}.lr={phase.lr}: must be a number above 0"
        try:
            rules = strategy.parse(phase.rates, f"{key}.rates")
        except UserError as error:
            yield str(error)
            continue
        if phase.probe is not None and any(rule.rate is not None and rule.selector != "head" for rule in rules):
            yield f"{key}: a probe fits the head alone: its rates must be {{head: 1, backbone: null}}"


def _nodes(config: RunConfig) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Every node that builds something: key, node, and how many arguments headstart itself passes in front."""
    yield "optimizer", config.optimizer, 1
    yield "data.source", config.data.source, 0
    for name, phase in config.strategy.phases.items():
        if phase.probe is not None:
            yield f"strategy.phases.{name}.probe", phase.probe, 0


def _component_problems(config: RunConfig) -> Iterator[str]:
    from timm.scheduler import create_scheduler_v2

    problems = [problem for key, node, given in _nodes(config) for problem in bind(key, node, given)]
    problems += _bind_call("scheduler", create_scheduler_v2, config.scheduler, 1)
    for group, options, own in (("scheduler", config.scheduler, SCHEDULE), ("model.args", config.model.args, FACTORY)):
        problems += [f"{group}.{name}: is set by headstart; leave it out" for name in options if name in own]
    trained = any(phase.epochs is not None for phase in config.strategy.phases.values())
    yield from problems or (_trial_problems(config) if trained else ())


def _trial_problems(config: RunConfig) -> Iterator[str]:
    """Values that only the optimizer and the scheduler themselves refuse: both are built once, on one number."""
    import torch
    from timm.scheduler import create_scheduler_v2

    try:
        optimizer = configs.build(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:
        yield f"optimizer: {_first_line(error.__cause__ or error)}"
        return
    try:
        scheduler, _ = create_scheduler_v2(
            optimizer, num_epochs=10, step_on_epochs=False, updates_per_epoch=10, **config.scheduler
        )
        if scheduler is not None:
            scheduler.step_update(1)
    except Exception as error:
        reason = _first_line(error) or "it cannot be stepped by batch"
        yield f"scheduler: sched={config.scheduler.get('sched')} does not work here ({reason}); try cosine or step"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]


def bind(key: str, node: Mapping[str, Any], given: int) -> Iterator[str]:
    """What is wrong with a ``_target_`` node: not allowed, not there, or it does not take these arguments."""
    from hydra.utils import get_object

    target = node.get("_target_")
    allowed = tuple(prefix.removesuffix("*") for prefix in ALLOWED_TARGETS)
    if not isinstance(target, str) or not target.startswith(allowed):
        names = ", ".join(prefix.removesuffix(".*") for prefix in ALLOWED_TARGETS)
        yield f"{key}._target_={target}: only things of {names} are built"
        return
    try:
        call = get_object(target)
    except Exception as error:
        yield f"{key}._target_={target}: {str(error).splitlines()[0] if str(error) else 'not found'}"
        return
    options = {name: value for name, value in node.items() if not str(name).startswith("_")}
    yield from _bind_call(key, call, options, given)


def _bind_call(key: str, call: Any, options: Mapping[str, Any], given: int) -> Iterator[str]:
    signature = inspect.signature(call)
    names = list(signature.parameters)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in options:
        if name not in names and not open_ended:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(names[given:])}"
            yield f"{key}.{name}: {getattr(call, '__name__', call)} takes no such argument{hint}"
    needed = [
        p.name
        for p in list(signature.parameters.values())[given:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in options
    ]
    if needed:
        yield f"{key}: {getattr(call, '__name__', call)} also needs {', '.join(needed)}"


def unknown(composed: "DictConfig") -> list[str]:
    """Keys that the schema does not have, in words; plain Hydra accepts them behind a ``+`` and in experiment files."""
    from omegaconf import OmegaConf

    container = OmegaConf.to_container(composed, resolve=False)
    known = sorted(_schema_keys(RunConfig))

    def walk(schema: Any, node: Mapping[str, Any], prefix: str) -> Iterator[str]:
        types = get_type_hints(schema)
        for name, value in node.items():
            path = f"{prefix}{name}"
            if name not in types:
                near = difflib.get_close_matches(path, known, n=1)
                yield f"{path}: there is no such key" + (f"; did you mean {near[0]}?" if near else "")
            elif is_dataclass(types[name]) and isinstance(value, Mapping):
                yield from walk(types[name], value, f"{path}.")
            elif path == "strategy.phases" and isinstance(value, Mapping):
                for phase, keys in value.items():
                    yield from walk(PhaseConfig, keys, f"{path}.{phase}.")

    assert isinstance(container, dict)
    return list(walk(RunConfig, container, ""))  # type: ignore[arg-type]


def _schema_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    for name, kind in get_type_hints(schema).items():
        yield f"{prefix}{name}"
        if is_dataclass(kind):
            yield from _schema_keys(kind, f"{prefix}{name}.")


def missing(config: Any) -> list[str]:
    """Keys that are still ``???``, in words."""
    from omegaconf import OmegaConf

    return [f"{key}: must be given, e.g. {key}=..." for key in sorted(OmegaConf.missing_keys(config))]
