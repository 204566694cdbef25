"""The kernels of the layer that sees the image: each is itself a small image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from headstart.errors import UserError
from headstart.visualize.forward import to_input
from headstart.visualize.sheet import Cell, draw_sheet

if TYPE_CHECKING:
    from headstart.predict.network import Network

MOST = 96  # kernels in the sheet
COLUMNS = 12
SIDE = 84  # of a kernel in the sheet, in pixels
UNUSED = 0.01  # of the strongest kernel's norm: a kernel below has learnt nothing


@dataclass(frozen=True)
class Kernels:
    """The weights [n, 3 or 1, h, w] of the first layer, and its name."""

    layer: str
    weights: Tensor

    @property
    def norms(self) -> Tensor:
        """The norm of each kernel."""
        return self.weights.flatten(1).norm(dim=1)

    def describe(self) -> str:
        """Their number, their size, and how many do nothing."""
        n, _, height, width = self.weights.shape
        unused = int((self.norms <= UNUSED * self.norms.max()).sum())
        return f"{self.layer}: {n} kernels of {height} × {width}; {unused} below 1 % of the strongest one's norm"


@torch.no_grad()
def find_kernels(network: Network) -> Kernels:
    """Find the first layer with weights that the network calls, and its kernels.

    Raises:
        UserError: it does not see the image's channels.
    """
    called: list[tuple[str, Any]] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: called.append((name, module)))
        for name, module in network.network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        side = network.image_size
        network.network(to_input(network, torch.zeros(1, 3, side, side, device=network.device)))
    finally:
        for handle in handles:
            handle.remove()
    name, layer = called[0]
    weights = layer.weight.detach().float().cpu()
    if isinstance(layer, nn.Linear):  # the templates of a linear model
        side = math.isqrt(layer.in_features // 3)
        if 3 * side * side == layer.in_features:
            return Kernels(name, weights.view(-1, 3, side, side))
    elif weights.shape[1] in (1, 3) and layer.groups == 1:
        return Kernels(name, weights)
    raise UserError(f"{network.name}: its first layer {name} has kernels {list(weights.shape)}, which are no images")


def draw_kernels(network: Network, kernels: Kernels) -> Image.Image:
    """Draw the kernels, the strongest first, all on one scale: grey is 0."""
    order = kernels.norms.argsort(descending=True)[:MOST].tolist()
    scale = kernels.weights.abs().max().clamp(min=1e-30)
    pixels = ((kernels.weights / scale + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    if pixels.shape[3] == 1:
        pixels = pixels.expand(-1, -1, -1, 3)
    classes = network.classes if len(kernels.weights) == len(network.classes) else None
    cells = []
    for at in order:
        name = classes[at] if classes else str(at)
        large = Image.fromarray(pixels[at].contiguous().numpy())
        cells.append(Cell(large.resize((SIDE, SIDE), Image.Resampling.NEAREST), (f"{name}: {kernels.norms[at]:.2g}",)))
    rows = [("", cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    count = len(kernels.weights)
    shown = f"the {MOST} strongest of {count}" if count > MOST else f"{count}, the strongest first"
    note = f"{shown}, with their norms; all on one scale, in which grey is 0"
    return draw_sheet(f"{network.name}: the kernels of {kernels.layer}", note, rows, side=SIDE)
