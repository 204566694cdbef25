"""The rates of a phase: an ordered mapping from a selector of parameters to a rate, read without torch.

The first selector that matches a parameter decides; every parameter must be matched, and every rule must match
something. A rate multiplies the optimizer's learning rate, `null` is frozen, and `{rate: r, decay: d}` gives
r x d^depth.

Selectors:

- `all`: every parameter
- `head`: the module that timm's `get_classifier()` returns (depth 0)
- `backbone`: everything else (depth 1 and deeper)
- `last`: the `groups` stages next to the head, one by default: `last: {rate: 1, groups: 2}`
- `first`: the `groups` stages next to the input, one by default; the stem is one
- `depth2`: one depth; `depth1-3`: a range; `depth4-`: from 4 to the stem
- `stem0`: the backbone counted from the input, where the stem is 0; ranges as for `depth`
- `norm`: weights and biases of normalisation layers
- `bias`: parameters that are called bias, also `q_bias` or `bias_hh_l0`; not tables such as `attention_biases`
- `name:REGEX`: parameters with a match of the regular expression anywhere in their name, such as `name:\\.bias$`; in a
  file only, because Hydra's command line takes no such keys

Depths are the stages of the backbone, counted back from the head: `headstart.models.depths` says what a stage is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import UserError

WORDS = ("all", "head", "backbone", "last", "first", "norm", "bias")
COUNTED = ("last", "first")  # take `groups`
BIAS = re.compile(r"(\w+_)?bias(_[ih]h_l\d+(_reverse)?)?")  # the second half: torch's recurrent layers
SPAN = re.compile(r"(?P<kind>depth|stem)(?P<low>\d+)(?P<dash>-)?(?P<high>(?<=-)\d+)?")


@dataclass(frozen=True)
class Parameter:
    """The facts of a parameter that a selector can refer to."""

    name: str
    depth: int
    deepest: int
    is_norm: bool
    count: int


@dataclass(frozen=True)
class Rule:
    """One line of a phase's `rates`."""

    selector: str
    rate: float | None
    decay: float = 1.0
    groups: int = 1

    def rate_at(self, depth: int) -> float | None:
        """The multiplier of the learning rate at `depth`; None is frozen."""
        return None if self.rate is None else self.rate * self.decay**depth

    def matches(self, parameter: Parameter) -> bool:
        """Whether this rule applies to `parameter`."""
        span = SPAN.fullmatch(self.selector)
        from_stem = parameter.deepest - parameter.depth
        if span:
            low, high = _parse_span(span)
            if span.group("kind") == "stem":
                return parameter.depth > 0 and low <= from_stem <= high
            return low <= parameter.depth <= high
        if self.selector.startswith("name:"):
            return re.search(self.selector[5:], parameter.name) is not None
        return {
            "all": True,
            "head": parameter.depth == 0,
            "backbone": parameter.depth > 0,
            "last": 0 < parameter.depth <= self.groups,
            "first": parameter.depth > 0 and from_stem < self.groups,
            "norm": parameter.is_norm,
            "bias": BIAS.fullmatch(parameter.name.rpartition(".")[2]) is not None,
        }[self.selector]


def parse_rates(rates: Mapping[str, Any], where: str = "rates") -> list[Rule]:
    """Read a phase's `rates`; raises a UserError that names the key, which is or begins with `where`."""
    if not rates:
        raise UserError(f"{where} is empty: give at least one rule, such as {{all: 1}}")
    return [_parse_rule(str(selector), value, f"{where}.{selector}") for selector, value in rates.items()]


def _parse_rule(selector: str, value: Any, key: str) -> Rule:
    _check_selector(selector, key)
    options = dict(value) if isinstance(value, Mapping) else {"rate": value}
    takes = {"rate", "decay"} | ({"groups"} if selector in COUNTED else set())
    if not options.keys() <= takes or "rate" not in options:
        more = ", groups: n" if selector in COUNTED else ""
        raise UserError(f"{key}: a rate is a number, null or {{rate: r, decay: d{more}}}, got {value!r}")
    rate, decay, groups = options["rate"], options.get("decay", 1.0), options.get("groups", 1)
    if rate is not None and not _is_number(rate, 0.0):
        raise UserError(f"{key}: the rate must be a number above 0, or null for frozen, got {rate!r}")
    if not _is_number(decay, 0.0) or decay > 1:
        raise UserError(f"{key}: decay must be a number above 0 and at most 1, got {decay!r}")
    if not isinstance(groups, int) or not _is_number(groups, 0.0):
        raise UserError(f"{key}: groups must be a whole number, 1 or more, got {groups!r}")
    return Rule(selector, None if rate is None else float(rate), float(decay), groups)


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value < float("inf")


def _check_selector(selector: str, key: str) -> None:
    if selector in WORDS:
        return
    span = SPAN.fullmatch(selector)
    if span and _parse_span(span)[0] <= _parse_span(span)[1]:
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


def _parse_span(span: re.Match[str]) -> tuple[float, float]:
    low, dash, high = span.group("low", "dash", "high")
    return float(low), float(high) if high else (float("inf") if dash else float(low))
