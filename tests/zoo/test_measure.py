"""Counts are those of timm's networks; time and memory are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.models import cost
from headstart.zoo import rows
from zoo.networks import SMALL, outline, read


def test_counts_are_those_of_timms_networks(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert set(table) == set(SMALL)
    for name, row in table.items():
        model = outline(name)
        assert int(row["parameters"]) == sum(p.numel() for p in model.parameters())
        assert int(row["input_px"]) == 224
        state = [value for value in model.state_dict().values() if value.is_floating_point()]
        assert float(row["size_mb"]) == pytest.approx(4 * sum(value.numel() for value in state) / 2**20)
    assert float(table["resnet18"]["gmacs"]) == pytest.approx(1.814, abs=0.001)
    assert int(table["resnet18"]["depth"]) == 20 + 20 + 1  # convolutions, norms, the linear layer


def test_time_and_memory_are_measured(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    for row in table.values():
        assert float(row["ms_cpu"]) > 0
        assert row["ms_gpu"] == row["peak_gpu_mb"] == row["error"] == ""
        assert float(row["size_mb"]) < float(row["peak_mb"]) < 300
    assert float(table["mobilenetv3_small_050"]["peak_mb"]) < float(table["resnet34"]["peak_mb"])


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnetv2_101", "densenet121", "inception_v3"])
def test_depth_counts_as_keras_published_figures_do(name: str) -> None:
    assert cost.count_layers(outline(name)) == rows.BY_MODEL[name].depth
