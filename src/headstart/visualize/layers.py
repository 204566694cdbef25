"""The layers of a network that can be shown: by the name of a module, or by depth as a strategy counts depths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.errors import UserError, did_you_mean
from headstart.models.depths import find_stages
from headstart.models.head import name_head
from headstart.visualize.forward import as_map

if TYPE_CHECKING:
    from headstart.predict.network import Network

DEPTHS = 4  # shown by default
DEPTH = re.compile(r"(?:depth)?(-?\d+)")


@dataclass(frozen=True)
class Layer:
    """A module of the network whose output is a map.

    Attributes:
        name: of the module.
        channels: of its output.
        stage: the number of the stage that it ends, 0 next to the image; None if it ends none.
    """

    name: str
    channels: int
    stage: int | None = None


def find_layers(network: Network, side: int) -> dict[str, Layer]:
    """Find the layers that the network calls for an image of `side` pixels, in the order in which they are done."""
    model = network.network
    of_parameter, _ = find_stages(model, name_head(model))
    calls: dict[str, tuple[int, ...]] = {}

    def listen(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            while isinstance(output, tuple | list) and output:
                output = output[0]
            if isinstance(output, Tensor) and output.ndim > 1:
                calls.setdefault(name, tuple(as_map(output).shape[1:]))

        return hook

    with ExitStack() as stack, torch.inference_mode():
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(listen(name)).remove)
        model(torch.zeros(1, 3, side, side, device=network.device))
    ends = _find_ends(model, of_parameter, calls)
    return {name: Layer(name, shape[0], ends.get(name)) for name, shape in calls.items()}


def _find_ends(model: Any, of_parameter: dict[str, int], calls: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The layer with which each stage ends: the last that has weights, all of this stage, and a map with positions."""
    ends: dict[int, str] = {}
    for name, (_, height, width) in calls.items():
        inside = {of_parameter.get(f"{name}.{each}") for each, _ in model.get_submodule(name).named_parameters()}
        if len(inside) == 1 and (stage := inside.pop()) is not None:
            is_map = height * width > 1
            if stage not in ends or is_map or calls[ends[stage]][1:] == (1, 1):
                ends[stage] = name
    return {name: stage for stage, name in ends.items()}


def choose_layers(layers: dict[str, Layer], wanted: Sequence[str] | None, option: str = "--layers") -> list[Layer]:
    """The layers of these names and depths; by default the ends of four stages, evenly from the first to the last.

    Raises:
        UserError: the network has no such layer; `option` is what asked for it.
    """
    ends = sorted((layer for layer in layers.values() if layer.stage is not None), key=lambda layer: layer.stage or 0)
    if wanted is None:
        count = min(DEPTHS, len(ends))
        return [ends[round(at * (len(ends) - 1) / max(1, count - 1))] for at in range(count)]
    return [_choose(layers, ends, name, option) for name in wanted]


def _choose(layers: dict[str, Layer], ends: list[Layer], name: str, option: str) -> Layer:
    if name in layers:
        return layers[name]
    listed = ", ".join(f"{layer.stage} = {layer.name}" for layer in ends)
    if (number := DEPTH.fullmatch(name)) is not None:
        at = int(number[1])
        if -len(ends) <= at < len(ends):
            return ends[at]
        raise UserError(f"{option} {name}: the network has these depths: {listed or 'none'}")
    hint = did_you_mean(name, layers)
    raise UserError(f"{option} {name}: the network calls no layer of this name{hint}; its depths: {listed or 'none'}")
