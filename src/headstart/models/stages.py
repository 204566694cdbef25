"""Pooled features of several stages of a network from one forward pass, for a probe on inner layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("avg", "max", "avgmax", "catavgmax")  # timm's names


class Stages(nn.Module):
    """Computes the features of the chosen layers, concatenated [n, d]; `names` are the names of their column ranges.

    Each stage's map [n, c, h, w] gives a range of c columns for each pooling (2 c for `catavgmax`).

    Args:
        layers: indices into timm's `feature_info` stages, to which the pre-logits features are appended; negative
            ones count from the end, as in Python.
        poolings: how each stage's map is pooled; the pre-logits features are already pooled by the network.

    Raises:
        UserError: the network gives no access to its stages, or has no such stage.
    """

    def __init__(self, model: Any, layers: Sequence[int], poolings: Sequence[str]) -> None:
        from timm.layers import SelectAdaptivePool2d

        super().__init__()
        self.model = model
        self.stages, self.with_logits = _choose_stages(model, layers)
        self.poolings = tuple(poolings)
        self.pools = nn.ModuleList(SelectAdaptivePool2d(pool_type=name, flatten=True) for name in poolings)
        # part of the key of the feature cache, because `repr` of this module does not show the chosen stages
        self.code = f"stages {self.stages} {self.with_logits} {self.poolings}"

    @property
    def names(self) -> list[str]:
        """The names of the parts in the order of their columns: by stage, then by pooling, the pre-logits last."""
        pooled = [f"stage{stage} {pooling}" for stage in self.stages for pooling in self.poolings]
        return [*pooled, "pre-logits"] if self.with_logits else pooled

    def compute_maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps [n, c, h, w] of the chosen stages, and the last one if the pre-logits are chosen."""
        # one pass returns the map after the last layer and the maps after the chosen stages
        final, maps = self.model.forward_intermediates(x, indices=list(self.stages))
        return [*maps, final] if self.with_logits else list(maps)

    def pool_maps(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Turn what `compute_maps` returns into the features [n, d_i] of each part, in the order of `names`."""
        count = len(self.stages)
        found = [pool(each) for each in maps[:count] for pool in self.pools]
        return found + [self.model.forward_head(final, pre_logits=True).flatten(1) for final in maps[count:]]

    def compute_parts(self, x: Tensor) -> list[Tensor]:
        """Compute the features [n, d_i] of each part, in the order of `names`."""
        return self.pool_maps(self.compute_maps(x))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.compute_parts(x), 1)

    @torch.no_grad()
    def find_columns(self, example: Tensor) -> dict[str, slice]:
        """Find the columns of each part by name. If there are several parts, `all` is added: all columns together.

        Args:
            example: float images [n, 3, h, w], to find the number of columns.

        Raises:
            UserError: the pre-logits features found here are not the input of the network's head.
        """
        parts = self.eval().compute_parts(example)
        # In some networks `forward_intermediates` does not end as `forward_features` does, so both are compared.
        if self.with_logits:
            own = self.model.forward_head(self.model.forward_features(example), pre_logits=True).flatten(1)
            if not torch.allclose(parts[-1], own, rtol=1e-3, atol=1e-5):
                name = type(self.model).__name__
                raise UserError(f"probe.layers: {name} changes its last stage on the way to its head; use [-1]")
        ends = torch.tensor([part.shape[1] for part in parts]).cumsum(0).tolist()
        named = {name: slice(end - part.shape[1], end) for name, end, part in zip(self.names, ends, parts, strict=True)}
        return named if len(named) == 1 else named | {"all": slice(0, ends[-1])}


def _choose_stages(model: Any, layers: Sequence[int]) -> tuple[tuple[int, ...], bool]:
    """The indices of the stages in ascending order, and whether the pre-logits features are among the layers."""
    name = type(model).__name__
    if not hasattr(model, "forward_intermediates") or not getattr(model, "feature_info", None):
        raise UserError(
            f"probe.layers={list(layers)}: {name} gives no access to its stages (timm's forward_intermediates); "
            "use [-1]"
        )
    count = len(model.feature_info)
    if not all(-count - 1 <= layer <= count for layer in layers):
        raise UserError(
            f"probe.layers={list(layers)}: {name} has {count} stages, 0 to {count - 1}, and {count} or -1 for its "
            f"pre-logits features; counted from the end they are {-count - 1} to -1"
        )
    # of count + 1 layers: the modulus makes negative indices positive, and index `count` is the pre-logits features
    indices = {layer % (count + 1) for layer in layers}
    return tuple(sorted(indices - {count})), count in indices
