"""How far around a position of a layer's map the image has an influence on it, measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.errors import UserError
from headstart.visualize.forward import run_to, to_input, without_weight_gradients

if TYPE_CHECKING:
    from headstart.predict.network import Network

LONG, THICK = 2048, 128  # sides of the strip of noise on which it is measured, in pixels
SOME = 64  # pixels, of a network with operations over the whole image
BEYOND = 1e-5  # share of a position's gradient that may come from farther away
SIDES = (256, 320)  # of two images whose maps tell a layer's stride


@dataclass(frozen=True)
class Reach:
    """What of an image one position of a map depends on.

    Attributes:
        stride: pixels between two positions.
        pixels: how far the influence goes to each side; where it has no end, how much of it is taken into account.
        local: whether it has an end: not in networks with operations over the whole image, such as squeeze-excite.
    """

    stride: int
    pixels: int
    local: bool

    @property
    def halo(self) -> int:
        """How many pixels around a tile make its gradient that of the whole image, a multiple of the stride.

        A pixel changes positions within the reach, and their values depend on pixels within the reach of them.
        """
        return self.stride * math.ceil(2 * self.pixels / self.stride)


def measure_reach(network: Network, layers: list[str]) -> Reach:
    """Measure the reach of the layer that sees farthest, with the largest stride.

    Raises:
        UserError: the layer has no map that grows with the image.
    """
    with without_weight_gradients(network):
        reaches = [_measure(network, layer) for layer in layers]
    return Reach(
        math.lcm(*(each.stride for each in reaches)),
        max(each.pixels for each in reaches),
        all(each.local for each in reaches),
    )


def _measure(network: Network, layer: str) -> Reach:
    stride = _find_stride(network, layer)
    generator = torch.Generator().manual_seed(0)
    strip = torch.rand(1, 3, THICK, LONG, generator=generator).to(network.device).requires_grad_()
    maps = run_to(network.network, to_input(network, strip), {layer: lambda maps: maps})[layer]
    middle = maps.shape[3] // 2
    (gradient,) = torch.autograd.grad(maps[..., middle].square().sum(), strip)
    mass = gradient.abs().sum((0, 1, 2)).double().cpu()
    centre = LONG * (middle + 0.5) / maps.shape[3]
    distance = (torch.arange(LONG) + 0.5 - centre).abs()
    order = distance.argsort(descending=True)
    outside = mass[order].cumsum(0) / mass.sum().clamp(min=1e-30)
    pixels = math.ceil(float(distance[order[int((outside <= BEYOND).sum().clamp(max=LONG - 1))]]))
    local = pixels < LONG // 4
    return Reach(stride, pixels if local else SOME, local)


def _find_stride(network: Network, layer: str) -> int:
    """The pixels of the image for each position of the layer's map."""
    sizes = []
    for side in SIDES:
        image = torch.rand(1, 3, side, side, device=network.device)
        try:
            with torch.inference_mode():
                maps = run_to(network.network, to_input(network, image), {layer: lambda maps: maps})[layer]
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UserError(f"{network.name}: takes no images of {side} px, so it cannot dream ({error})") from error
        sizes.append(maps.shape[3])
    more = sizes[1] - sizes[0]
    if more < 1:
        raise UserError(f"{layer} of {network.name}: its map does not grow with the image; name another with --layers")
    return (SIDES[1] - SIDES[0]) // more
