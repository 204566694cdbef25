"""Every network of conf/model, with random weights and small images, goes through predict, why and features."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from headstart.config.resolvers import config_folder
from headstart.predict.load import load_network, read_model
from headstart.predict.network import Network
from headstart.visualize.features.canvas import make_palette
from headstart.visualize.features.compare import find_live_channels
from headstart.visualize.features.optimise import Settings, make_pictures
from headstart.visualize.features.rows import Choice, make_class_row, make_row
from headstart.visualize.layers import choose_layers, find_layers
from headstart.visualize.why.cases import Case, Cases
from headstart.visualize.why.report import draw_cases

NETWORKS = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml") if path.stem != "timm")
SMALLEST = {"inception_v3": 96, "inception_resnet_v2": 96, "nasnet_large": 96, "xception": 96}  # what they can work on
NARROWER = {"vgg16": {"mlp_ratio": 1 / 64}, "vgg19": {"mlp_ratio": 1 / 64}}  # their hidden layers hold 120 M weights
SMALL = 64  # pixels


def test_all_networks_are_visited() -> None:
    assert len(NETWORKS) == 66
    assert set(SMALLEST) | set(NARROWER) <= set(NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_predicts_and_is_looked_into(name: str) -> None:
    config = replace(read_model(name), weights="none")
    config = replace(config, args={**config.args, **NARROWER.get(name, {})})
    network = load_network(config, torch.device("cpu"), image_size=SMALLEST.get(name, SMALL))
    check_predict(network)
    check_why(network)
    check_features(network)


def check_predict(network: Network) -> None:
    """The best classes are those of the plain module, and the features are finite."""
    photo = Image.fromarray(load_sample_images().images[0])
    (found,) = network.predict(photo, top=2, batch_size=1)
    assert found.error is None
    assert 1 >= found.probabilities[0] >= found.probabilities[1] >= 0
    assert network.features(photo, batch_size=1).isfinite().all()
    with torch.inference_mode():
        plain = network.module(network.transform(photo)[None]).softmax(1)
    assert float(plain.max()) == pytest.approx(found.probabilities[0], abs=1e-4)


def check_why(network: Network) -> None:
    """A map of the image's size is drawn, finite and not zero everywhere."""
    photo = load_sample_images().images[1][100:300, 200:400]
    options = argparse.Namespace(method="hirescam", layer=None, target=None)
    sheet = draw_cases([network], Cases([Case(photo, "flower")], "Where it looks", "why"), options)
    (group,) = sheet.groups
    density = group[1].density
    assert density is not None
    assert density.shape == (network.image_size, network.image_size)
    assert abs(density).max() > 0
    assert density.max() < float("inf")
    assert sheet.draw().width >= 640


def check_features(network: Network) -> None:
    """The picture of a unit is finite, and moves: the unit has a gradient in the image."""
    side = network.image_size
    layers = choose_layers(find_layers(network, side), None)
    if layers:
        live = find_live_channels(network, layers[-2:-1], None, side)
        row = make_row(network, layers[-2], Choice(), live[layers[-2].name])
    else:
        row = make_class_row(network, ())
    start, moved = (
        make_pictures(network, row.module, row.objective, len(row.units), Settings(side, steps, make_palette()))
        for steps in (0, 2)
    )
    assert moved.shape == (len(row.units), 3, side, side)
    assert moved.isfinite().all()
    assert all((start[at] != moved[at]).any() for at in range(len(row.units)))
