"""Batch norms folded into convolutions change nothing but rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import FAMILIES
from headstart.models import fold
from models.networks import network


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_changes_rounding_only(name: str) -> None:
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        whole, folded = model(x), fold.fold_batch_norms(model)(x)
    assert torch.allclose(whole, folded, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_folding_folds() -> None:
    folded = fold.fold_batch_norms(network("resnet18"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
