"""A network without values has the names, shapes and modules of the one with values, and is refused where that is."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from headstart.models.outline import without_values


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext", "test_resnet"])
def test_it_is_the_network_but_for_its_values(name: str) -> None:
    with without_values():
        outline = timm.create_model(name, num_classes=3)
    model = timm.create_model(name, num_classes=3)
    assert {key: tensor.shape for key, tensor in outline.state_dict().items()} == {
        key: tensor.shape for key, tensor in model.state_dict().items()
    }
    assert repr(outline) == repr(model)
    assert all(tensor.is_meta for tensor in outline.state_dict().values())


def test_no_weight_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a weight was filled")

    monkeypatch.setattr(torch._refs, "normal", refuse)
    with without_values():
        weight = nn.Linear(3, 2).weight
        assert nn.init.trunc_normal_(weight) is weight
        assert weight.data.normal_().is_meta


def test_tensors_with_values_are_filled_as_ever() -> None:
    with without_values():
        here = torch.empty(2, 2, device="cpu")
        assert nn.init.constant_(here, 3.0).tolist() == [[3, 3], [3, 3]]
        assert here.mul_(2).tolist() == [[6, 6], [6, 6]]


def test_an_initialisation_that_asks_for_a_matrix_is_refused() -> None:
    with without_values():
        for initialise in (nn.init.kaiming_uniform_, nn.init.kaiming_normal_):
            with pytest.raises(ValueError, match="fewer than 2 dimensions"):
                initialise(nn.Parameter(torch.empty(3)))
