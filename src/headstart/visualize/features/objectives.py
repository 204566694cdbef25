"""What an image shall excite, as functions of a layer's map: the same for a synthetic picture and for real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Objective = Callable[[Tensor], Tensor]  # of maps [n, c, h, w] to scores [n, units]


def excite_channels(channels: Sequence[int]) -> Objective:
    """The mean of each channel over all positions; with 1 x 1 positions the outputs of a vector, such as classes."""
    return lambda maps: maps[:, list(channels)].mean((2, 3))


def excite_neurons(channels: Sequence[int]) -> Objective:
    """The value of each channel at the position in the middle."""
    return lambda maps: maps[:, list(channels), maps.shape[2] // 2, maps.shape[3] // 2]


def excite_layer() -> Objective:
    """The mean square of the whole map: what DeepDream amplifies. One unit."""
    return lambda maps: maps.square().mean((1, 2, 3))[:, None]


def excite_direction(direction: Tensor) -> Objective:
    """How far the map's vectors lead into a direction [c], times how well they agree with it (their cosine). One unit.

    Without the cosine the largest vectors win, whatever else they contain. It is at least 0.1, so that there is a
    gradient from everywhere.
    """

    def score(maps: Tensor) -> Tensor:
        unit = (direction / direction.norm()).to(maps)
        length = torch.einsum("nchw,c->nhw", maps, unit)
        cosine = length / maps.norm(dim=1).clamp(min=1e-6)
        return (length * cosine.clamp(min=0.1)).mean((1, 2))[:, None]

    return score


def measure_likeness(maps: Tensor, size: int) -> Tensor:
    """How alike the maps [n, c, h, w] of each `size` successive images are: the mean cosine of their Gram matrices.

    A Gram matrix says which channels are active together, wherever (the style of an image: Gatys et al. 2015).
    """
    flat = maps.flatten(2)
    grams = (flat @ flat.transpose(1, 2)).flatten(1)
    grams = torch.nn.functional.normalize(grams, dim=1).unflatten(0, (-1, size))
    cosines = grams @ grams.transpose(1, 2)  # [groups, size, size]
    others = cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)
    return others / (size * (size - 1))
