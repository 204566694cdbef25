"""Maps of an image that say how much each place adds to the logit of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EXACT = 1e-4  # largest gap that is rounding, as a share of what the maps should add up to


@dataclass(frozen=True)
class Maps:
    """How much each place of n images adds to one logit of each.

    Attributes:
        values: [n, h, w], in the unit of logits.
        logits: that are explained, [n].
        base: what the logits are without any of the places, [n]: the bias, or the logits of an empty image.
    """

    values: Tensor
    logits: Tensor
    base: Tensor

    @property
    def gaps(self) -> Tensor:
        """What the maps leave unexplained of the logits, [n]; 0 where each map and its base add up to the logit."""
        return self.logits - self.base - self.values.sum((1, 2))

    @property
    def is_exact(self) -> bool:
        """Whether each map and its base add up to the logit, but for rounding."""
        return bool(self.gaps.abs().max() <= EXACT * (self.logits - self.base).abs().max())

    @property
    def density(self) -> Tensor:
        """The logit if the whole image were as this place, [n, h, w]; maps of any resolution can be compared by it."""
        return self.values * self.values[0].numel()

    def resize(self, side: int) -> Tensor:
        """The density, bilinear between the places' centres: [n, side, side]."""
        density = self.density[:, None]
        return functional.interpolate(density, size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def join(parts: Sequence[Maps]) -> Maps:
    """The maps of several batches as one."""
    return Maps(*(torch.cat([getattr(part, name) for part in parts]) for name in ("values", "logits", "base")))
