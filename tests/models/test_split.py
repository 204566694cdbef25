"""Halves of a network make the whole, for every family and every depth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import FAMILIES
from headstart.models import split
from models.networks import RULES, network, trainable


@pytest.mark.parametrize("name", FAMILIES)
def test_halves_make_the_whole(name: str) -> None:
    model = network(name)
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        whole = model(x)
        for rules in RULES:
            learns = trainable(model, rules)
            found = split.split_network(model, learns, x)
            assert found is not None, rules
            features = found.prefix.eval()(x)
            assert torch.allclose(found.rest.eval()(features), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
            rest = {id(p) for p in found.rest.parameters()}
            names = {key for key, p in model.named_parameters() if id(p) in rest}
            assert learns <= names, "what learns lies behind the cut, and is the model's own"
            if rules is RULES[0]:
                assert names == learns, "with the whole backbone frozen, only the head is behind the cut"


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_dropout_behind_the_cut_still_drops(name: str) -> None:
    model = network(name, drop_rate=0.5)
    x = torch.randn(2, 3, 64, 64)
    found = split.split_network(model, trainable(model, RULES[1]), x)
    features = found.prefix.eval()(x)
    found.rest.train()
    assert not torch.equal(found.rest(features), found.rest(features))
    found.rest.eval()
    assert torch.equal(found.rest(features), found.rest(features))


def test_everything_learns_nothing_is_cut() -> None:
    model = network("resnet18")
    assert split.split_network(model, trainable(model, {"all": 1}), torch.randn(1, 3, 64, 64)) is None


def test_a_half_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("resnet18")
    learns = trainable(model, RULES[0])
    wrong = nn.Linear(512, 5)
    monkeypatch.setattr(split, "_split_at_head", lambda m: split.NetworkSplit(split.PreLogits(m), wrong, "head"))
    found = split.split_network(model, learns, torch.randn(2, 3, 64, 64))
    assert found is None or found.at != "head"
