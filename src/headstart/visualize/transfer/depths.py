"""The tensors of a network by depth: its parameters, and the buffers (batch-norm statistics) of the same layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headstart.strategy.plan import list_parameters


@dataclass(frozen=True)
class Depth:
    """One depth of a backbone.

    Attributes:
        number: its distance from the head, which is 0.
        layers: the names of its layers, shortened.
        parameters, buffers: the names of its tensors in the network's state dict.
    """

    number: int
    layers: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all its tensors."""
        return self.parameters + self.buffers


def list_depths(model: Any) -> list[Depth]:
    """List the depths of a timm network's backbone, from the input to depth 1."""
    of = {parameter.name: parameter.depth for parameter in list_parameters(model)}
    of_buffers = {name: _find_owner(name, of) for name in model.state_dict() if name not in of}
    depths = []
    for number in range(max(of.values()), 0, -1):
        own = [name for name, depth in of.items() if depth == number]
        layers = _name_layers(own, [name for name, depth in of.items() if depth != number])
        buffers = tuple(name for name, depth in of_buffers.items() if depth == number)
        depths.append(Depth(number, _shorten(layers), tuple(own), buffers))
    return depths


def _find_owner(buffer: str, depths: Mapping[str, int]) -> int:
    """The depth of a buffer: that of the smallest part of the network that has it and a parameter."""
    part, found = buffer, list[int]()
    while not found:
        part = part.rpartition(".")[0]
        found = [depth for name, depth in depths.items() if not part or name.startswith(f"{part}.")]
    return max(found)


def _name_layers(own: Iterable[str], others: Collection[str]) -> list[str]:
    """The largest parts of the network that have parameters of `own` and none of the `others`."""
    layers: list[str] = []
    for name in own:
        words = name.split(".")
        parts = (".".join(words[:length]) for length in range(1, len(words) + 1))
        largest = next(part for part in parts if not any(f"{other}.".startswith(f"{part}.") for other in others))
        if largest not in layers:
            layers.append(largest)
    return layers


def _shorten(layers: list[str]) -> str:
    return ", ".join(layers) if len(layers) <= 2 else f"{layers[0]} … {layers[-1]}"


def measure_distance(names: Iterable[str], start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> float | None:
    """How far these tensors moved, in relation to their size: ‖end - start‖ / ‖start‖ over all of their entries.

    Returns:
        None if there is no such tensor of floating-point numbers, or if all of them were 0.
    """
    moved = size = 0.0
    for name in names:
        if start[name].is_floating_point():
            before, after = start[name].double().cpu(), end[name].double().cpu()
            moved += (after - before).square().sum().item()
            size += before.square().sum().item()
    return (moved / size) ** 0.5 if size else None


def has_changed(depth: Depth, start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> bool:
    """Whether any number of this depth is another one than at the start."""
    return not all(torch.equal(start[name].cpu(), end[name].cpu()) for name in depth.tensors)
