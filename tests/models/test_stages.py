"""Features of several stages of a network in one pass."""

from __future__ import annotations

import pytest
import timm
import torch

from headstart.errors import UserError
from headstart.models import architectures, fold  # noqa: F401
from headstart.models.stages import Stages


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_100", num_classes=10).eval()


def test_several_stages_are_one_pass_and_their_own_features(model: torch.nn.Module) -> None:
    images = torch.randn(4, 3, 64, 64)
    stages = Stages(model, [0, -2, -1], ["avg", "max"])
    columns = stages.find_columns(images)
    assert list(columns) == ["stage0 avg", "stage0 max", "stage4 avg", "stage4 max", "pre-logits", "all"]
    with torch.no_grad():
        found = stages(images)
        maps = model.forward_intermediates(images, intermediates_only=True)
        own = model.forward_head(model.forward_features(images), pre_logits=True)
        assert torch.allclose(found[:, columns["stage0 max"]], maps[0].amax((2, 3)), atol=1e-5)
        assert torch.allclose(found[:, columns["stage4 avg"]], maps[4].mean((2, 3)), atol=1e-5)
        assert torch.allclose(found[:, columns["pre-logits"]], own, atol=1e-5)
        assert torch.allclose(fold.fold_batch_norms(stages)(images), found, atol=1e-3)
    assert found.shape[1] == columns["all"].stop


def test_stages_that_a_network_does_not_have_are_refused(model: torch.nn.Module) -> None:
    with pytest.raises(UserError, match=r"5 stages, 0 to 4"):
        Stages(model, [6], ["avg"])
    with pytest.raises(UserError, match="gives no access to its stages"):
        Stages(timm.create_model("linear"), [0], ["avg"])
