"""Checks that need torch and timm: networks, weights, and that every `_target_` exists and takes its arguments."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from headstart.config import instantiate, keys, own_code
from headstart.config.schema import PhaseConfig, RunConfig
from headstart.config.text import find_argument_problems
from headstart.errors import UserError, did_you_mean

# Arguments that headstart itself passes.
SCHEDULE = ("optimizer", "num_epochs", "step_on_epochs", "updates_per_epoch")
FACTORY = ("num_classes", "in_chans", "pretrained", "pretrained_cfg", "checkpoint_path", "features_only")


class Components:
    """Finds the problems of configs that need torch and timm; a part that several jobs share is checked once.

    Args:
        trial: build the optimizer and the scheduler once, for a parameter of one number.
        machine: report weights that are not on this machine.
    """

    def __init__(self, *, trial: bool = True, machine: bool = True) -> None:
        self._trial, self._machine = trial, machine
        self._answers: dict[str, list[str]] = {}

    def find_problems(self, config: RunConfig) -> list[str]:
        """Find names of parts and networks that do not exist, arguments that do not fit, and missing weights."""
        phases = config.strategy.phases
        found = self._ask(_import_problems, config.imports or [])
        if found:  # what the modules define would be reported as unknown
            return found
        found = [problem for part in _list_nodes(config) for problem in self._ask(bind, *part)]
        found += [] if found else find_argument_problems(config)
        if not found:
            for group in ("measures", "figures"):
                found += self._ask(_observer_problems, group, getattr(config, group))
            found += self._ask(_probe_problems, phases) + self._ask(_penalty_problems, phases)
        found += self._ask(_argument_problems, config.scheduler, config.model.args)
        if not found and self._trial and any(phase.epochs is not None for phase in phases.values()):
            found += self._ask(_trial_problems, config.optimizer, config.scheduler)
        found += self._ask(_name_problems, config.model.name)
        if config.strategy.start == "pretrained":
            found += self._ask(_weight_problems, config.model.weights, self._machine)
        return found

    def _ask(self, question: Callable[..., Iterable[str]], *parts: Any) -> list[str]:
        key = repr((question.__name__, parts))
        if key not in self._answers:
            self._answers[key] = list(question(*parts))
        return self._answers[key]


def _import_problems(names: list[str]) -> Iterator[str]:
    """Modules of one's own that cannot be imported; the others are imported, as they are in every process."""
    try:
        own_code.load(names)
    except UserError as error:
        yield str(error)


def _list_nodes(config: RunConfig) -> Iterator[tuple[str, str, Mapping[str, Any], int]]:
    """Every node with a `_target_`: key, role, node, and how many positional arguments headstart itself passes."""
    yield "optimizer", "optimizer", config.optimizer, 1
    yield "data.source", "source", config.data.source, 0
    for name, phase in config.strategy.phases.items():
        for part in ("probe", "penalty"):
            if (node := getattr(phase, part)) is not None:
                yield f"strategy.phases.{name}.{part}", part, node, 0
    for group in ("measures", "figures"):
        for name, node in getattr(config, group).items():
            yield f"{group}.{name}", group.removesuffix("s"), node, 0


def _name_problems(name: str) -> Iterator[str]:
    from headstart.models import factory

    try:
        factory.check_name(name)
    except UserError as error:
        yield str(error)


def _weight_problems(name: str, machine: bool) -> Iterator[str]:
    from headstart.models import weights

    # `run:` may name an earlier job of the same sweep, which does not exist yet
    expected = not name.startswith("run:") if machine else not weights.may_exist_elsewhere(name)
    try:
        if expected:
            weights.locate(name)
    except UserError as error:
        yield str(error)


def _argument_problems(scheduler: Mapping[str, Any], model_args: Mapping[str, Any]) -> Iterator[str]:
    """Arguments that the scheduler does not take, and arguments that headstart itself passes."""
    from timm.scheduler import create_scheduler_v2

    yield from _bind_call("scheduler", create_scheduler_v2, scheduler, 1)
    for group, options, own in (("scheduler", scheduler, SCHEDULE), ("model.args", model_args, FACTORY)):
        yield from (f"{group}.{name}: is set by headstart; leave it out" for name in options if name in own)
    yield from _number_problems("scheduler", create_scheduler_v2, scheduler)


def _observer_problems(group: str, nodes: Mapping[str, Any]) -> Iterator[str]:
    """Problems of measures and figures: each is built once, which costs nothing."""
    for name, node in nodes.items():
        try:
            instantiate.build(group.removesuffix("s"), node)
        except Exception as error:
            yield f"{group}.{name}: {_first_line(error.__cause__ or error)}"


def _probe_problems(strategy_phases: Mapping[str, PhaseConfig]) -> Iterator[str]:
    """Values that a probe refuses, and probes that a later phase cannot follow."""
    phases = list(strategy_phases.items())
    for index, (name, phase) in enumerate(phases):
        if phase.probe is None:
            continue
        key = f"strategy.phases.{name}"
        try:
            probe = instantiate.build("probe", phase.probe)
        except Exception as error:
            yield f"{key}.{_first_line(error.__cause__ or error)}"
            continue
        if getattr(probe, "refit", False) and index < len(phases) - 1:
            yield (
                f"{key}.probe.refit=true: {phases[index + 1][0]} validates on the images that it would be fitted on: "
                "refit in the last phase only"
            )
        if getattr(probe, "is_separate", False) and index < len(phases) - 1:
            yield (
                f"{key}.probe: its head cannot replace the network's own head, so {phases[index + 1][0]} cannot start "
                "from it: make it the last phase, or use a linear probe with layers=[-1]"
            )


def _penalty_problems(phases: Mapping[str, PhaseConfig]) -> Iterator[str]:
    """Values that a penalty refuses."""
    for name, phase in phases.items():
        if phase.penalty is not None:
            try:
                instantiate.build("penalty", phase.penalty)
            except Exception as error:
                yield f"strategy.phases.{name}.{_first_line(error.__cause__ or error)}"


def _trial_problems(optimizer_node: dict[str, Any], schedule: Mapping[str, Any]) -> Iterator[str]:
    """Values that the optimizer or the scheduler refuses: both are built once, for a parameter of one number."""
    import torch
    from timm.scheduler import create_scheduler_v2

    try:
        optimizer = instantiate.build("optimizer", optimizer_node, [torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:
        yield f"optimizer: {_first_line(error.__cause__ or error)}"
        return
    try:
        scheduler, _ = create_scheduler_v2(
            optimizer, num_epochs=10, step_on_epochs=False, updates_per_epoch=10, **schedule
        )
        if scheduler is not None:
            scheduler.step_update(1)
    except Exception as error:
        reason = _first_line(error) or "it cannot be stepped by batch"
        yield f"scheduler: sched={schedule.get('sched')} does not work here ({reason}); try cosine or step"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _number_problems(key: str, call: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """Arguments that are not numbers, although the annotations of the called object require numbers."""
    try:
        hints = typing.get_type_hints(call.__init__ if inspect.isclass(call) else call)
    except (NameError, AttributeError, TypeError):  # annotations that only a type checker can follow
        return
    for name, value in options.items():
        hint = hints.get(name)
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        kinds = set(typing.get_args(hint)) if union else {hint}
        if not kinds & {int, float} or kinds - {int, float, type(None)} or (value is None and type(None) in kinds):
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield f"{key}.{name}={'null' if value is None else value}: must be a number"


def bind(key: str, role: str, node: Mapping[str, Any], given: int) -> Iterator[str]:
    """Problems of a `_target_` node: not allowed, not found, or wrong arguments."""
    if not isinstance(node, Mapping):
        yield f"{key}={node}: must be a mapping with a _target_, such as {key}._target_=headstart.…"
        return
    try:
        call = instantiate.find_target(node.get("_target_"), role)
    except UserError as error:
        yield f"{key}._target_={error}"
        return
    options = {name: value for name, value in node.items() if not str(name).startswith("_")}
    yield from _bind_call(key, call, options, given)
    yield from _number_problems(key, call, options)


def _bind_call(key: str, call: Any, options: Mapping[str, Any], given: int) -> Iterator[str]:
    signature = inspect.signature(call)
    names = list(signature.parameters)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in options:
        if name not in names and not open_ended:
            hint = did_you_mean(str(name), names[given:], nearest=partial(keys.nearest_keys, limit=1))
            hint = hint or f"; it takes {', '.join(names[given:])}"
            yield (
                f"{key}.{name}: {getattr(call, '__name__', call)} takes no such argument{hint}"
                f"; ~{key}.{name} takes it away where a file sets it"
            )
    for name, parameter in signature.parameters.items():
        if re.match(r"(\w+\.)*Sequence\b", str(parameter.annotation)) and isinstance(options.get(name), str):
            yield f"{key}.{name}={options[name]}: must be a list, such as [{options[name]}]"
    needed = [
        p.name
        for p in list(signature.parameters.values())[given:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in options
    ]
    if needed:
        yield f"{key}: {getattr(call, '__name__', call)} also needs {', '.join(needed)}"
