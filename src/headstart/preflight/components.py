"""What a config builds by name: every ``_target_`` exists, is allowed, and takes the arguments it is given."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headstart.config import instantiate, keys
from headstart.config.schema import RunConfig
from headstart.config.validate import raise_if_any
from headstart.errors import UserError

# Arguments that headstart itself gives.
SCHEDULE = ("optimizer", "num_epochs", "step_on_epochs", "updates_per_epoch")
FACTORY = ("num_classes", "in_chans", "pretrained", "pretrained_cfg", "checkpoint_path", "features_only")


def check(config: RunConfig) -> None:
    """Raise one UserError that lists every name of a part or network that does not exist, and every unfit argument."""
    raise_if_any(problems(config))


def problems(config: RunConfig, *, trial: bool = True, machine: bool = True) -> list[str]:
    """What only the libraries can say about a config, before any data is read; imports torch and timm.

    Args:
        trial: build the optimizer and the scheduler once, on one number.
        machine: weights that are not on this one are missing.
    """
    from headstart.models import factory, weights

    found = list(_component_problems(config, trial))
    questions: list[Callable[[], object]] = [lambda: factory.check_name(config.model.name)]
    # the weights of a run may be those of an earlier job of the same sweep
    expected = not config.model.weights.startswith("run:") if machine else not weights.elsewhere(config.model.weights)
    if config.strategy.start == "pretrained" and expected:
        questions.append(lambda: weights.locate(config.model.weights))
    for question in questions:
        try:
            question()
        except UserError as error:
            found.append(str(error))
    return found


def _nodes(config: RunConfig) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Every node that builds something: key, node, and how many arguments headstart itself passes in front."""
    yield "optimizer", config.optimizer, 1
    yield "data.source", config.data.source, 0
    for name, phase in config.strategy.phases.items():
        for part in ("probe", "penalty"):
            if (node := getattr(phase, part)) is not None:
                yield f"strategy.phases.{name}.{part}", node, 0
    for group in ("measures", "figures"):
        for name, node in getattr(config, group).items():
            yield f"{group}.{name}", node, 0


def _component_problems(config: RunConfig, trial: bool) -> Iterator[str]:
    from timm.scheduler import create_scheduler_v2

    problems = [problem for key, node, given in _nodes(config) for problem in bind(key, node, given)]
    problems += problems or [*_observer_problems(config), *_probe_problems(config), *_penalty_problems(config)]
    problems += _bind_call("scheduler", create_scheduler_v2, config.scheduler, 1)
    for group, options, own in (("scheduler", config.scheduler, SCHEDULE), ("model.args", config.model.args, FACTORY)):
        problems += [f"{group}.{name}: is set by headstart; leave it out" for name in options if name in own]
    problems += _number_problems("scheduler", create_scheduler_v2, config.scheduler)
    trained = trial and any(phase.epochs is not None for phase in config.strategy.phases.values())
    yield from problems or (_trial_problems(config) if trained else ())


def _observer_problems(config: RunConfig) -> list[str]:
    """What is wrong with what looks on: measures and figures cost nothing to build, so they are built."""
    found = []
    for group in ("measures", "figures"):
        for name, node in getattr(config, group).items():
            try:
                made = instantiate.build(node)
                kinds = [kind.__name__ for kind in type(made).__mro__]
                if group[:-1].title() not in kinds:
                    found.append(f"{group}.{name}: {node['_target_']} is no {group[:-1]}")
            except Exception as error:
                found.append(f"{group}.{name}: {_first_line(error.__cause__ or error)}")
    return found


def _probe_problems(config: RunConfig) -> Iterator[str]:
    """Values that only a probe itself refuses, and a head kept beside the network that a later phase would need."""
    phases = list(config.strategy.phases.items())
    for index, (name, phase) in enumerate(phases):
        if phase.probe is None:
            continue
        key = f"strategy.phases.{name}"
        try:
            probe = instantiate.build(phase.probe)
        except Exception as error:
            yield f"{key}.{_first_line(error.__cause__ or error)}"
            continue
        if getattr(probe, "refit", False) and index < len(phases) - 1:
            yield (
                f"{key}.probe.refit=true: {phases[index + 1][0]} validates on the images that it would be fitted on: "
                "refit in the last phase only"
            )
        if getattr(probe, "beside", False) and index < len(phases) - 1:
            yield (
                f"{key}.probe: its head is no layer on what the network's own head reads, so {phases[index + 1][0]} "
                "cannot go on from it: let it be the last phase, or use a linear probe with layers=[-1]"
            )


def _penalty_problems(config: RunConfig) -> Iterator[str]:
    """Values that only a penalty itself refuses."""
    for name, phase in config.strategy.phases.items():
        if phase.penalty is not None:
            try:
                instantiate.build(phase.penalty)
            except Exception as error:
                yield f"strategy.phases.{name}.{_first_line(error.__cause__ or error)}"


def _trial_problems(config: RunConfig) -> Iterator[str]:
    """Values that only the optimizer and the scheduler themselves refuse: both are built once, on one number."""
    import torch
    from timm.scheduler import create_scheduler_v2

    try:
        optimizer = instantiate.build(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
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


def _number_problems(key: str, call: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """Arguments that are no numbers, though the call's annotations say that they have to be."""
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


def bind(key: str, node: Mapping[str, Any], given: int) -> Iterator[str]:
    """What is wrong with a ``_target_`` node: not allowed, not there, or it does not take these arguments."""
    if not isinstance(node, Mapping):
        yield f"{key}={node}: must be a mapping with a _target_, such as {key}._target_=headstart.…"
        return
    try:
        call = instantiate.find_target(node.get("_target_"))
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
            near = keys.nearest(str(name), names[given:])
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(names[given:])}"
            yield f"{key}.{name}: {getattr(call, '__name__', call)} takes no such argument{hint}"
    for name, parameter in signature.parameters.items():
        if str(parameter.annotation).startswith("Sequence") and isinstance(options.get(name), str):
            yield f"{key}.{name}={options[name]}: must be a list, such as [{options[name]}]"
    needed = [
        p.name
        for p in list(signature.parameters.values())[given:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in options
    ]
    if needed:
        yield f"{key}: {getattr(call, '__name__', call)} also needs {', '.join(needed)}"
