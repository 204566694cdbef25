"""Strategies as data: which parameter learns at what rate in which phase, computed from a phase's rules.

A phase's ``rates`` are an ordered mapping *selector: rate*. The first selector that matches a parameter decides;
every parameter must be matched, and every rule must match something. A rate multiplies the optimizer's learning rate,
``null`` is frozen, and ``{rate: r, decay: d}`` gives r x d^depth.

Selectors:

=================  ====================================================================================
``all``            every parameter
``head``           the module that timm's ``get_classifier()`` returns (depth 0)
``backbone``       everything else (depth 1 and deeper)
``depth2``         one depth; ``depth1-3`` a range; ``depth4-`` from 4 to the stem
``stem0``          the backbone counted from the input: the stem is 0; ranges as above
``name:REGEX``     parameters whose name matches the regular expression somewhere, e.g. ``name:\\.bias$``;
                   in a file only, as Hydra's command line takes no such keys
``norm``           weights and biases of normalisation layers
=================  ====================================================================================

Depths are timm's ``group_matcher(coarse=True)`` groups, the head taken out, counted back from the head.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from headstart.config import PhaseConfig

WORDS = ("all", "head", "backbone", "norm")
SPAN = re.compile(r"(?P<kind>depth|stem)(?P<low>\d+)(?P<dash>-)?(?P<high>(?<=-)\d+)?")


@dataclass(frozen=True)
class Rule:
    """One line of a phase's ``rates``."""

    selector: str
    rate: float | None
    decay: float = 1.0

    def at(self, depth: int) -> float | None:
        """The multiplier of the learning rate at ``depth``; None is frozen."""
        return None if self.rate is None else self.rate * self.decay**depth


@dataclass(frozen=True)
class Parameter:
    """What a selector can ask of a parameter."""

    name: str
    depth: int
    deepest: int
    is_norm: bool
    count: int


def parse(rates: Mapping[str, Any], where: str = "rates") -> list[Rule]:
    """Read a phase's ``rates``; raises UserError that names the key ``where`` and what it allows."""
    if not rates:
        raise UserError(f"{where} is empty: give at least one rule, such as {{all: 1}}")
    rules = []
    for selector, value in rates.items():
        key = f"{where}.{selector}"
        _check_selector(str(selector), key)
        options = dict(value) if isinstance(value, Mapping) else {"rate": value}
        unknown = sorted(set(options) - {"rate", "decay"})
        if unknown or "rate" not in options:
            raise UserError(f"{key}: a rate is a number, null or {{rate: r, decay: d}}, got {value!r}")
        rate, decay = options["rate"], options.get("decay", 1.0)
        if rate is not None and not _is_number(rate, 0.0):
            raise UserError(f"{key}: the rate must be a number above 0, or null for frozen, got {rate!r}")
        if not _is_number(decay, 0.0) or decay > 1:
            raise UserError(f"{key}: decay must be a number above 0 and at most 1, got {decay!r}")
        rules.append(Rule(str(selector), None if rate is None else float(rate), float(decay)))
    return rules


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value < float("inf")


def _check_selector(selector: str, key: str) -> None:
    if selector in WORDS:
        return
    span = SPAN.fullmatch(selector)
    if span and _range(span)[0] <= _range(span)[1]:
        return
    if selector.startswith("name:") and len(selector) > 5:
        try:
            re.compile(selector[5:])
            return
        except re.error as error:
            raise UserError(f"{key}: {selector[5:]!r} is not a regular expression: {error}") from None
    raise UserError(
        f"{key}: unknown selector {selector!r}; use one of {', '.join(WORDS)}, depth1-3, stem0-1 or name:REGEX"
    )


def _range(span: re.Match[str]) -> tuple[float, float]:
    low, dash, high = span.group("low", "dash", "high")
    return float(low), float(high) if high else (float("inf") if dash else float(low))


def _matches(selector: str, parameter: Parameter) -> bool:
    span = SPAN.fullmatch(selector)
    if span:
        low, high = _range(span)
        if span.group("kind") == "stem":
            return parameter.depth > 0 and low <= parameter.deepest - parameter.depth <= high
        return low <= parameter.depth <= high
    if selector.startswith("name:"):
        return re.search(selector[5:], parameter.name) is not None
    return {
        "all": True,
        "head": parameter.depth == 0,
        "backbone": parameter.depth > 0,
        "norm": parameter.is_norm,
    }[selector]


def describe(model: Any) -> list[Parameter]:
    """Every parameter of a timm model with its depth, in the model's order; raises UserError if it has no head."""
    from timm.models import group_parameters
    from torch.nn.modules.batchnorm import _NormBase

    head = model.get_classifier()
    in_head = {id(parameter) for parameter in head.parameters()} if hasattr(head, "parameters") else set()
    if not in_head:
        raise UserError(
            f"model {type(model).__name__} has no single head (get_classifier() gives {type(head).__name__})"
        )
    groups = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    body = sorted({groups[name] for name, p in model.named_parameters() if id(p) not in in_head})
    depths = {group: len(body) - index for index, group in enumerate(body)}
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NormBase) or "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    }
    return [
        Parameter(name, 0 if id(p) in in_head else depths[groups[name]], len(body), id(p) in norms, p.numel())
        for name, p in model.named_parameters()
    ]


@dataclass(frozen=True)
class Phase:
    """A phase applied to one model: the rate of every parameter, by name; None is frozen."""

    name: str
    config: "PhaseConfig"
    rates: dict[str, float | None]
    rows: tuple[tuple[str, int, float | None, int], ...]  # (depth range, its depth, rate, parameters)

    @property
    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, rate in self.rates.items() if rate is not None)


def plan(model: "nn.Module", phases: Mapping[str, "PhaseConfig"]) -> list[Phase]:
    """Give each parameter of ``model`` exactly one rate in each phase.

    Raises:
        UserError: a parameter that no rule covers, a rule that matches nothing, a phase in which nothing learns.
    """
    parameters = describe(model)
    planned = []
    for name, config in phases.items():
        where = f"strategy.phases.{name}.rates"
        rules = parse(config.rates, where)
        rates, used = {}, set()
        for parameter in parameters:
            rule = next((rule for rule in rules if _matches(rule.selector, parameter)), None)
            if rule is None:
                raise UserError(
                    f"{where}: no rule covers {parameter.name} (depth {parameter.depth}); add one, e.g. backbone: null"
                )
            used.add(rule)
            rates[parameter.name] = rule.at(parameter.depth)
        idle = [rule.selector for rule in rules if rule not in used]
        if idle:
            raise UserError(
                f"{where}: {', '.join(idle)} matches no parameter that an earlier rule left; depths here are "
                f"0 (head) to {parameters[0].deepest} (stem)"
            )
        if all(rate is None for rate in rates.values()):
            raise UserError(f"{where}: nothing learns; give at least one part a rate")
        planned.append(Phase(name, config, rates, tuple(_rows(parameters, rates))))
    return planned


def _rows(
    parameters: list[Parameter], rates: Mapping[str, float | None]
) -> Iterator[tuple[str, int, float | None, int]]:
    """The table of a phase: neighbouring depths with the same rates share a row; head first."""
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
            yield label, span[0], rate, sum(counts[at][rate] for at in span)


def freeze(model: "nn.Module", phase: Phase) -> None:
    """Switch ``requires_grad`` off for what is frozen in ``phase``, on for the rest."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(phase.rates[name] is not None)


def train_mode(module: "nn.Module") -> None:
    """``train()``, except for every module whose parameters are all frozen: that is put in ``eval()``, buffers and all.

    A frozen batch norm thus keeps its statistics, and a frozen block drops nothing.
    """
    module.train()

    def settle(part: "nn.Module") -> None:
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()
        else:
            for child in part.children():
                settle(child)

    settle(module)


def optimizer_groups(model: "nn.Module", phase: Phase, lr: float, weight_decay: float | None) -> list[dict[str, Any]]:
    """Optimizer groups of what learns in ``phase``: one per rate, biases and norm weights without weight decay.

    ``weight_decay`` None leaves the optimizer's own default alone for all.
    """
    norm_or_bias = {p.name for p in describe(model) if p.is_norm or p.name.endswith(".bias")}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        rate = phase.rates[name]
        if rate is None:
            continue
        plain = name in norm_or_bias
        group = groups.setdefault((rate, plain), {"params": [], "lr": lr * rate, "rate": rate})
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if plain else weight_decay
        group["params"].append(parameter)
    return list(groups.values())
