"""Every network of conf/model goes through feature visualization: its units have a gradient in the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headstart.config import resolvers
from headstart.predict.load import load_network, read_model
from headstart.visualize.features.canvas import make_palette
from headstart.visualize.features.compare import find_live_channels
from headstart.visualize.features.optimise import Settings, make_pictures
from headstart.visualize.features.rows import Choice, make_class_row, make_row
from headstart.visualize.layers import choose_layers, find_layers

NETWORKS = sorted(path.stem for path in (resolvers.config_folder() / "model").glob("*.yaml") if path.stem != "timm")
NARROWER = {"vgg16": {"mlp_ratio": 1 / 64}, "vgg19": {"mlp_ratio": 1 / 64}}  # their hidden layers hold 120 M weights
SIDE = 96  # pixels, of networks for larger images


def test_all_networks_are_visited() -> None:
    assert len(NETWORKS) == 66


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_is_made_for_a_network(name: str) -> None:
    config = replace(read_model(name), weights="none")
    config = replace(config, args={**config.args, **NARROWER.get(name, {})})
    network = load_network(config, torch.device("cpu"))
    side = min(SIDE, network.image_size)
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
