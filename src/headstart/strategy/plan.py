"""A phase applied to one network: the rate of each parameter, which ones are frozen, and the optimizer's groups."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.config.rates import Parameter, parse_rates
from headstart.errors import UserError
from headstart.models.depths import find_stages
from headstart.models.head import find_head, name_head
from headstart.models.modes import has_statistics
from headstart.runtime import shared

if TYPE_CHECKING:
    from torch import nn

    from headstart.config.schema import PhaseConfig


def list_parameters(model: Any) -> list[Parameter]:
    """List every parameter of a timm model with its depth, in the model's order; UserError if the model has no head."""
    find_head(model)
    head = name_head(model)
    stages, _ = find_stages(model, head)
    deepest = max(stages.values(), default=-1) + 1
    norms = {
        id(parameter)
        for module in model.modules()
        if has_statistics(module) or "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    }
    return [
        Parameter(name, 0 if name in head else deepest - stages[name], deepest, id(p) in norms, p.numel())
        for name, p in model.named_parameters()
    ]


def describe_depths(model: Any) -> str:
    """A sentence if the backbone is a single depth because the network does not say how its layers follow; else empty.

    Rates of the whole backbone are not affected.
    """
    reason = find_stages(model, name_head(model))[1]
    return reason and f"{type(model).__name__} {reason}: its whole backbone is one depth, 1"


@dataclass(frozen=True)
class Phase:
    """A phase applied to one model: the rate of every parameter, by name; None is frozen."""

    name: str
    config: PhaseConfig
    rates: dict[str, float | None]
    rows: tuple[tuple[str, float | None, int], ...]  # (depth range, rate, number of parameters), the head first
    reach: float  # the greatest depth that learns, as a share of the network's depth: 0 is the head, 1 the input

    @property
    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, rate in self.rates.items() if rate is not None)


def plan_phases(model: nn.Module, phases: Mapping[str, PhaseConfig]) -> list[Phase]:
    """Give each parameter of `model` exactly one rate in each phase.

    Raises:
        UserError: a parameter that no rule covers, a rule that matches nothing, a phase in which nothing learns.
    """
    parameters = shared.derive(model, "parameters", None, lambda: list_parameters(model))
    planned = []
    for name, config in phases.items():
        where = f"strategy.phases.{name}.rates"
        given = parse_rates(config.rates, where)
        rates, used = {}, set()
        for parameter in parameters:
            rule = next((rule for rule in given if rule.matches(parameter)), None)
            if rule is None:
                raise UserError(
                    f"{where}: no rule covers {parameter.name} (depth {parameter.depth}); add one, e.g. backbone: null"
                )
            used.add(rule)
            rates[parameter.name] = rule.rate_at(parameter.depth)
        idle = [rule.selector for rule in given if rule not in used]
        if idle:
            raise UserError(
                f"{where}: {', '.join(idle)} matches no parameter that an earlier rule left; depths here are "
                f"0 (head) to {parameters[0].deepest} (stem)"
            )
        if all(rate is None for rate in rates.values()):
            raise UserError(f"{where}: nothing learns; give at least one part a rate")
        reach = max(each.depth for each in parameters if rates[each.name] is not None) / max(1, parameters[0].deepest)
        planned.append(Phase(name, config, rates, tuple(_tabulate(parameters, rates)), reach))
    return planned


def check_schedule(phases: Sequence[Phase], scheduler: Mapping[str, Any], lr: float) -> None:
    """Raise UserError if a phase's lowest rate is not above the rates with which warm-up begins and the schedule ends.

    These two rates are the same for all parameter groups.

    Args:
        lr: the optimizer's learning rate, for phases without one of their own.
    """
    from timm.scheduler import create_scheduler_v2

    defaults = inspect.signature(create_scheduler_v2).parameters
    names = ("min_lr", "warmup_lr") if scheduler.get("warmup_epochs") else ("min_lr",)
    if scheduler.get("sched") == "none":
        return
    for name, phase in itertools.product(names, phases):
        floor = scheduler.get(name, defaults[name].default) or 0
        least = (phase.config.lr or lr) * min(rate for rate in phase.rates.values() if rate is not None)
        if phase.config.probe is None and 0 < least <= floor:
            raise UserError(
                f"scheduler.{name}={floor}: is not below every rate of strategy.phases.{phase.name}, whose lowest is "
                f"{least:.3g}: use scheduler.{name}=0"
            )


def _tabulate(
    parameters: list[Parameter], rates: Mapping[str, float | None]
) -> Iterator[tuple[str, float | None, int]]:
    """The table of a phase, the head first: neighbouring depths with the same rates share a row."""
    counts: dict[int, dict[float | None, int]] = {}
    for parameter in parameters:
        at = counts.setdefault(parameter.depth, {})
        rate = rates[parameter.name]
        at[rate] = at.get(rate, 0) + parameter.count
    depths = sorted(counts)
    start = 0
    for index, depth in enumerate(depths):
        following = depths[index + 1] if index + 1 < len(depths) else None
        if depth > 0 and following is not None and set(counts[following]) == set(counts[depth]):
            continue
        span = depths[start : index + 1]
        start = index + 1
        label = "head" if depth == 0 else (f"{span[0]}" if len(span) == 1 else f"{span[0]}–{span[-1]}")
        for rate in sorted(counts[depth], key=lambda value: (value is None, value)):
            yield label, rate, sum(counts[at][rate] for at in span)


def freeze(model: nn.Module, phase: Phase) -> None:
    """Switch `requires_grad` off for parameters that are frozen in `phase`, and on for the others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(phase.rates[name] is not None)


def optimizer_groups(model: nn.Module, phase: Phase, lr: float, weight_decay: float | None) -> list[dict[str, Any]]:
    """Group the parameters that learn in `phase` by their rate; those that timm does not decay have no weight decay.

    These are parameters of one dimension, biases, and what the network's `no_weight_decay()` names. With `weight_decay`
    None all groups have the optimizer's own default.
    """
    undecayed = _list_undecayed(model)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        rate = phase.rates[name]
        if rate is None:
            continue
        plain = id(parameter) in undecayed
        group = groups.setdefault((rate, plain), {"params": [], "lr": lr * rate, "rate": rate})
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if plain else weight_decay
        group["params"].append(parameter)
    return list(groups.values())


def _list_undecayed(model: Any) -> set[int]:
    """The ids of the learning parameters that timm's own optimizers would not decay."""
    from timm.optim import param_groups_weight_decay

    named = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    groups = param_groups_weight_decay(model, weight_decay=1.0, no_weight_decay_list=named)
    return {id(parameter) for group in groups if not group["weight_decay"] for parameter in group["params"]}
