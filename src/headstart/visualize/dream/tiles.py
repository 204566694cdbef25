"""The gradient of a layer's activity in an image of any size, tile by tile, the same as of the whole at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headstart.runtime.memory import release_memory
from headstart.visualize.dream.lean import save_memory
from headstart.visualize.forward import run_to, to_input

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.visualize.dream.reach import Reach


@dataclass(frozen=True)
class Tile:
    """A part of an axis of the image, from `start` to `stop`, seen with what is between `first` and `last`."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Gradient:
    """The gradient [3, h, w] of the layers' activity in the image, the mean of its magnitude, and the maps' norm."""

    values: Tensor
    mean: float
    norm: float


def cut_axis(length: int, offset: int, reach: Reach, window: int) -> list[Tile]:
    """Cut an axis into tiles that are seen through windows of at most `window` pixels, if the halo leaves room for it.

    All borders are multiples of the stride, counted from `offset` pixels before the image: only so each window has the
    positions that the whole image has. At both ends the image is reflected up to such a border.
    """
    stride, halo = reach.stride, reach.halo
    # of the reflected image, which begins at 0; the image itself begins at `offset`
    end = -(-(offset + length) // stride) * stride
    core = max(stride, (window - 2 * halo) // stride * stride)
    if end <= window:
        core = end
    tiles = []
    for start in range(0, end, core):
        stop = min(start + core, end)
        first, last = max(0, start - halo), min(stop + halo, end)
        tiles.append(Tile(start - offset, stop - offset, first - offset, last - offset))
    return tiles


def reflect(first: int, last: int, length: int) -> Tensor:
    """The positions first … last - 1 of an axis of this length, which goes on as in a mirror at both ends."""
    period = max(1, 2 * (length - 1))
    at = torch.arange(first, last).remainder(period)
    return torch.minimum(at, period - at).clamp(max=length - 1)


def compute_gradient(
    network: Network,
    image: Tensor,
    activity: dict[str, Callable[[Tensor], Tensor]],
    reach: Reach,
    *,
    offset: tuple[int, int],
    window: int,
    count: Callable[[int], None] = lambda pixels: None,
) -> Gradient:
    """Compute the gradient of the sum of the layers' activity over all positions.

    Args:
        image: [3, h, w] in 0 … 1, on the CPU.
        activity: by the name of a layer, of its map [1, c, h, w] to the activity of each position [1, h, w].
        offset: where the first positions of the maps begin: so many pixels before the image, below, and beside it.
        count: called with the pixels of each tile that is done.
    """
    values, total, square = torch.empty_like(image), 0.0, 0.0
    height, width = image.shape[1:]
    for rows in cut_axis(height, offset[0], reach, window):
        for columns in cut_axis(width, offset[1], reach, window):
            down, across = reflect(rows.first, rows.last, height), reflect(columns.first, columns.last, width)
            seen = image[:, down][:, :, across].to(network.device)[None].requires_grad_()
            with save_memory():
                maps = run_to(network.network, to_input(network, seen), {name: lambda maps: maps for name in activity})
            loss = torch.stack([activity[name](each).sum() for name, each in maps.items()]).sum()
            (found,) = torch.autograd.grad(loss, seen)
            square += sum(_square(each.detach(), rows, columns, seen.shape) for each in maps.values())
            top, bottom = max(rows.start, 0), min(rows.stop, height)
            left, right = max(columns.start, 0), min(columns.stop, width)
            part = found[0, :, top - rows.first : bottom - rows.first, left - columns.first : right - columns.first]
            values[:, top:bottom, left:right] = part.cpu()
            total += float(part.abs().sum(dtype=torch.float64))
            del maps, loss, found, part
            release_memory()  # glibc would keep some hundred MB of it in pieces
            count((bottom - top) * (right - left))
    return Gradient(values, total / values.numel(), square**0.5)


def _square(maps: Tensor, rows: Tile, columns: Tile, shape: torch.Size) -> float:
    """The sum of the squares of a map at the positions of a tile, without its halo."""
    down, across = maps.shape[2] / shape[2], maps.shape[3] / shape[3]
    inside = maps[
        :,
        :,
        round((rows.start - rows.first) * down) : round((rows.stop - rows.first) * down),
        round((columns.start - columns.first) * across) : round((columns.stop - columns.first) * across),
    ]
    return float(inside.square().sum(dtype=torch.float64))
