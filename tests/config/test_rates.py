"""Rules of rates: what each selector means, the first that matches, what is refused."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FAMILIES
from headstart.config.schema import PhaseConfig
from headstart.errors import UserError
from headstart.models.outline import without_values
from headstart.strategy import plan


@cache
def network(name: str) -> torch.nn.Module:
    """The outline of a network with five outputs: no test changes it."""
    with without_values():
        return timm.create_model(name, num_classes=5)


def rates(model: torch.nn.Module, rules: dict) -> dict[str, float | None]:
    """The rates of a phase with these rules."""
    return plan.plan_phases(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0].rates


def test_selectors() -> None:
    model = network("resnet18")  # head, then layer4 (1) ... layer1 (4), stem (5)
    assert rates(model, {"depth0-1": 1, "all": None})["layer4.0.conv1.weight"] == 1
    assert rates(model, {"depth0-1": 1, "all": None})["layer3.0.conv1.weight"] is None
    assert rates(model, {"depth4-": 1, "all": None})["conv1.weight"] == 1
    assert rates(model, {"stem0": 0.5, "all": None})["conv1.weight"] == 0.5
    assert rates(model, {"stem0": 0.5, "all": None})["layer1.0.conv1.weight"] is None
    norm = rates(model, {"norm": 1, "head": 1, "all": None})
    assert norm["bn1.weight"] == 1
    assert norm["conv1.weight"] is None
    bias = rates(model, {r"name:\.bias$": 1, "all": None})
    assert {key for key, rate in bias.items() if rate} == {key for key in bias if key.endswith(".bias")}


def test_first_match_wins_and_decay_follows_depth() -> None:
    found = rates(network("resnet18"), {"head": 2, "depth1": None, "all": {"rate": 1, "decay": 0.5}})
    assert found["fc.weight"] == 2
    assert found["layer4.0.conv1.weight"] is None
    assert found["layer3.0.conv1.weight"] == 0.25
    assert found["conv1.weight"] == 0.5**5


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"head": 1}, "no rule covers conv1.weight"),
        ({"all": 1, "head": 2}, "head matches no parameter"),
        ({"all": None}, "nothing learns"),
        ({"dept1": 1}, "unknown selector 'dept1'"),
        ({"depth3-1": 1}, "unknown selector"),
        ({"name:(": 1}, "not a regular expression"),
        ({"all": -1}, "above 0"),
        ({"all": True}, "above 0"),
        ({"all": "fast"}, "above 0"),
        ({"all": {"rate": 1, "deca": 0.5}}, "{rate: r, decay: d}"),
        ({"all": {"rate": 1, "decay": 2}}, "decay must be"),
        ({"last": {"rate": 1, "groups": 0}}, "groups must be"),
        ({"head": {"rate": 1, "groups": 2}}, "{rate: r, decay: d}"),
        ({}, "is empty"),
    ],
)
def test_bad_rules_are_named(rules: dict, words: str) -> None:
    with pytest.raises(UserError, match=r"strategy\.phases\.p\.rates") as caught:
        rates(network("resnet18"), rules)
    assert words in str(caught.value)


MEANS = {  # selector: what it asks of (name, depth, distance from the stem, whether it is a norm's)
    "head": lambda name, depth, stem, norm: depth == 0,
    "backbone": lambda name, depth, stem, norm: depth > 0,
    "norm": lambda name, depth, stem, norm: norm,
    "depth1": lambda name, depth, stem, norm: depth == 1,
    "depth0-2": lambda name, depth, stem, norm: depth <= 2,
    "depth2-": lambda name, depth, stem, norm: depth >= 2,
    "stem0": lambda name, depth, stem, norm: stem == 0,
    "stem1-3": lambda name, depth, stem, norm: depth > 0 and 1 <= stem <= 3,
    "name:bias$": lambda name, depth, stem, norm: name.endswith("bias"),
    "all": lambda name, depth, stem, norm: True,
}
RATE = st.none() | st.floats(1e-6, 10) | st.fixed_dictionaries({"rate": st.floats(1e-3, 1), "decay": st.floats(0.1, 1)})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(sorted(MEANS)), RATE), max_size=5, unique_by=lambda rule: rule[0]), RATE)
def test_every_parameter_has_one_rate_in_a_phase_that_of_the_first_rule_that_matches(
    rules: list[tuple[str, Any]], rest: Any
) -> None:
    model = network("resnet18")
    rules = [(selector, rate) for selector, rate in rules if selector != "all"] + [("all", rest)]
    expected: dict[str, float | None] = {}
    used = set()
    for each in plan.list_parameters(model):
        seen = each.name, each.depth, each.deepest - each.depth, each.is_norm
        selector, rate = next(rule for rule in rules if MEANS[rule[0]](*seen))
        used.add(selector)
        expected[each.name] = rate["rate"] * rate["decay"] ** each.depth if isinstance(rate, dict) else rate
    refused = len(used) < len(rules) or set(expected.values()) == {None}
    if refused:
        with pytest.raises(UserError, match=r"matches no parameter|nothing learns"):
            rates(model, dict(rules))
        return
    (phase,) = plan.plan_phases(model, {"p": PhaseConfig(rates=dict(rules), epochs=1)})
    assert phase.rates == expected
    assert set(expected) == {name for name, _ in model.named_parameters()}
    assert sum(count for *_, count in phase.rows) == sum(p.numel() for p in model.parameters())


def test_last_and_first_count_groups_from_the_head_and_from_the_input() -> None:
    model = network("resnet18")  # layer4 (1) ... layer1 (4), stem (5)
    last = rates(model, {"head": 1, "last": {"rate": 1, "groups": 2, "decay": 0.5}, "backbone": None})
    assert last["layer4.0.conv1.weight"] == 0.5
    assert last["layer3.0.conv1.weight"] == 0.25
    assert last["layer2.0.conv1.weight"] is None
    first = rates(model, {"first": {"rate": 1, "groups": 2}, "all": None})
    assert {name.split(".")[0] for name, rate in first.items() if rate} == {"conv1", "bn1", "layer1"}
    assert rates(model, {"last": 1, "all": None})["layer3.0.conv1.weight"] is None, "one group by default"


OTHER_BIASES = {  # that are not called bias alone; a table of offsets between positions is none
    "beit_base_patch16_224": r"\.(q|v)_bias$",
    "swinv2_tiny_window8_256": r"\.(q|v)_bias$",
    "sequencer2d_s": r"\.bias_[ih]h_l0(_reverse)?$",
    "tiny_vit_5m_224": None,  # has attention_biases
}


@pytest.mark.parametrize("name", [*FAMILIES, *OTHER_BIASES])
def test_bias_is_every_bias_and_nothing_else(name: str) -> None:
    found = rates(network(name), {"bias": 1, "all": None})
    other = OTHER_BIASES.get(name)
    others = {key for key in found if other and re.search(other, key)}
    assert bool(others) == bool(other)
    assert {key for key, rate in found.items() if rate} == {key for key in found if key.endswith(".bias")} | others
