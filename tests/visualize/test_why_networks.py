"""Every network of conf/model, with random weights and small images, goes through `why`."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_sample_images

from headstart.config.resolvers import config_folder
from headstart.models import preprocessing
from headstart.predict.load import load_network, read_model
from headstart.visualize.why.cases import Case, Cases
from headstart.visualize.why.report import draw_cases

NAMES = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml") if path.stem != "timm")
SMALLEST = {"inception_v3": 96, "inception_resnet_v2": 96, "nasnet_large": 96, "xception": 96}
SMALL = 64


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_network(name: str) -> None:
    config = replace(read_model(name), weights="none")
    side = min(preprocessing.expected_input(config).image_size, SMALLEST.get(name, SMALL))
    network = load_network(config, torch.device("cpu"), side)
    photo = load_sample_images().images[1][100:300, 200:400]
    options = argparse.Namespace(method="hirescam", layer=None, target=None)
    sheet = draw_cases([network], Cases([Case(photo, "flower")], "Where it looks", "why"), options)
    (group,) = sheet.groups
    first = group[1].density
    assert first is not None
    assert first.shape == (side, side)
    assert abs(first).max() > 0
    assert first.max() < float("inf")
    assert sheet.draw().width >= 640


def test_they_are_all_there() -> None:
    assert len(NAMES) == 66
    assert set(SMALLEST) <= set(NAMES)
