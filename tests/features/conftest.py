"""Images and a network to extract features of."""

from __future__ import annotations

import pytest
import timm
import torch

from conftest import compose
from features.extraction import SIZE
from headstart.data.dataset import prepare
from headstart.data.loader import Pixels


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Forty real digits."""
    data = compose("data=digits", "data.n_test=40", f"data.image_size={SIZE}").data
    return prepare(data, image_size=SIZE, crop_pct=0.875, interpolation="bicubic").test


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_efficientnet", num_classes=10).eval()
