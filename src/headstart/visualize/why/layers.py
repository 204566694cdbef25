"""The layers of a network whose maps can be explained, and how to look at one while the network works."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UserError
from headstart.models.stages import Stages
from headstart.predict.network import Network

FINE = 4  # places on a side of a map, below which an earlier layer shows more


def choose_layer(network: Network) -> str | None:
    """The last layer that offers features whose map has at least `FINE` places on a side.

    None is what the head reads: if that is fine enough, if no layer is, or if the head reads several stages.
    """
    if network.own_head is not None and network.route.split and isinstance(network.route.split.prefix, Stages):
        return None
    model, empty = network.network, torch.zeros(1, 3, network.image_size, network.image_size, device=network.device)
    with torch.no_grad():
        if _is_fine(model.forward_features(empty)):
            return None
        info = getattr(model, "feature_info", None) or []
        modules = dict(model.named_modules())
        for name in [each["module"] for each in getattr(info, "info", info)][::-1]:
            if name in modules and _is_fine(capture(model, modules[name], empty)):
                return str(name)
    return None


def _is_fine(maps: Tensor) -> bool:
    return maps.ndim == 4 and min(maps.shape[2:]) >= FINE


def capture(network: nn.Module, layer: nn.Module, images: Tensor, instead: Tensor | None = None) -> Tensor:
    """The output of a layer while the network sees images; or the network's, with another output of that layer.

    Raises:
        UserError: the network does not call the layer, or its output is no tensor.
    """
    kept: list[Any] = []

    def look(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
        kept.append(output.detach().clone() if isinstance(output, Tensor) else output)
        return instead

    handle = layer.register_forward_hook(look)
    try:
        logits: Tensor = network(images)
    finally:
        handle.remove()
    if not kept or not isinstance(kept[-1], Tensor):
        raise UserError("--layer: the network does not call this layer, or its output is no map; name another one")
    return logits if instead is not None else kept[-1]
