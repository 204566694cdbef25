"""A tiled gradient is that of the whole image; every pixel is in exactly one tile."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from sklearn.datasets import load_sample_image

import headstart
from headstart.predict.network import Network
from headstart.visualize.dream.objectives import amplify
from headstart.visualize.dream.reach import Reach, measure_reach
from headstart.visualize.dream.tiles import compute_gradient, cut_axis, reflect
from headstart.visualize.forward import without_weight_gradients

LAYER = "blocks.2"


@cache
def lite0() -> tuple[Network, Reach]:
    network = headstart.load("efficientnet_lite0", "cpu")
    return network, measure_reach(network, [LAYER])


@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize("length", [37, 200, 1000])
def test_every_pixel_is_in_one_tile_on_the_grid_of_the_whole(length: int, offset: int) -> None:
    reach = Reach(stride=16, pixels=20, local=True)
    tiles = cut_axis(length, offset, reach, 256)
    covered = [at for tile in tiles for at in range(max(tile.start, 0), min(tile.stop, length))]
    assert covered == list(range(length))
    for tile in tiles:
        assert tile.last - tile.first <= 256
        assert (tile.first + offset) % 16 == (tile.last + offset) % 16 == 0
        assert tile.first == max(-offset, tile.start - reach.halo)
        assert tile.last == min(tiles[-1].stop, tile.stop + reach.halo)


def test_an_axis_goes_on_as_in_a_mirror() -> None:
    assert reflect(-3, 8, 5).tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]
    assert reflect(-2, 3, 1).tolist() == [0] * 5


def test_the_gradient_in_tiles_is_that_of_the_whole() -> None:
    network, reach = lite0()
    pixels = load_sample_image("china.jpg")[:300, :500]
    image = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    with without_weight_gradients(network):
        whole, tiled = (
            compute_gradient(network, image, {LAYER: amplify}, reach, offset=(5, 11), window=window)
            for window in (512, 2 * reach.halo + 64)
        )
    scale = float(whole.values.abs().max())
    assert float((whole.values - tiled.values).abs().max()) <= 1e-4 * scale
    assert float(whole.values.abs().amin(0).mean()) > 0
    assert tiled.norm == pytest.approx(whole.norm, rel=1e-4)
    assert tiled.mean == pytest.approx(whole.mean, rel=1e-4)


def test_without_a_halo_it_is_not() -> None:
    network, reach = lite0()
    image = torch.rand(3, 200, 200, generator=torch.Generator().manual_seed(0))
    blind = Reach(reach.stride, 0, True)
    with without_weight_gradients(network):
        whole, tiled = (
            compute_gradient(network, image, {LAYER: amplify}, blind, offset=(0, 0), window=window).values
            for window in (512, 64)
        )
    assert float((whole - tiled).abs().max()) > 1e-2 * float(whole.abs().max())
