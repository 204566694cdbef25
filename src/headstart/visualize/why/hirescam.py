"""HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): how much each place of a feature map adds to a class's logit.

With the maps a [c, h, w] of a layer and the logit z of a class,

    map[y, x] = sum_c a[c, y, x] dz/da[c, y, x].

For the maps that the head reads, where the head is a pooling and one linear layer, z is linear in a, so that the map's
sum and the head's bias are the logit. Heads with a norm or hidden layers, and inner layers, are explained to first
order. Grad-CAM averages the gradients over the map first, and so shows places that the network did not use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UserError
from headstart.models.stages import Stages
from headstart.predict.network import Network
from headstart.probe.knn import Neighbours
from headstart.visualize.why.layers import capture
from headstart.visualize.why.maps import Maps, join

BATCH = 16  # images at a time


@dataclass(frozen=True)
class Halves:
    """A network in two: images [n, 3, s, s] to feature maps [n, c, h, w], and these to logits [n, classes].

    `compute_logits` gets the images too, for layers in whose place maps are set while the network sees the images.
    """

    compute_maps: Callable[[Tensor], list[Tensor]]
    compute_logits: Callable[[list[Tensor], Tensor], Tensor]


def compute_hirescam(network: Network, images: Tensor, targets: Tensor, layer: str | None = None) -> Maps:
    """Explain the logits of the classes `targets` [n] for normalised images [n, 3, s, s].

    Args:
        layer: the name of the module whose output is the map; None: what the head reads.

    Raises:
        UserError: the head has no gradient that could say anything, or the layer puts out no map.
    """
    if not has_gradient(network):
        raise UserError(
            f"{network.name}: its head is nearest neighbours, whose votes have no gradient where all neighbours are of "
            "one class; use --method occlusion"
        )
    halves = split_at_head(network) if layer is None else split_at_layer(network, layer)
    pairs = zip(images.split(BATCH), targets.split(BATCH), strict=True)
    return join([_explain(halves, some, classes, f"layer {layer or 'before the head'}") for some, classes in pairs])


def has_gradient(network: Network) -> bool:
    """Whether the logits change with the features; the votes of neighbours do not where all are of one class."""
    head = network.own_head
    return head is None or not any(isinstance(layer, Neighbours) for layer in head.modules())


def split_at_head(network: Network) -> Halves:
    """Split a network at the maps that its head reads; of a head on several stages these are several."""
    model, head = network.network, network.own_head
    if head is None:
        return Halves(
            lambda x: [_turn(model, model.forward_features(x), (0, 3, 1, 2))],
            lambda maps, x: model.forward_head(_turn(model, maps[0], (0, 2, 3, 1))),
        )
    assert network.route.split is not None
    stages = network.route.split.prefix
    assert isinstance(stages, Stages)
    return Halves(stages.compute_maps, lambda maps, x: head(torch.cat(stages.pool_maps(maps), 1)))


def _turn(model: Any, maps: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Turn the maps of a network that puts out [n, h, w, c]; those of others stay."""
    return maps.permute(axes) if maps.ndim == 4 and getattr(model, "output_fmt", "NCHW") == "NHWC" else maps


def split_at_layer(network: Network, name: str) -> Halves:
    """Split a network at the output of one of its modules."""
    layer: nn.Module = network.network.get_submodule(name)
    return Halves(
        lambda x: [capture(network.module, layer, x)],
        lambda maps, x: capture(network.module, layer, x, instead=maps[0]),
    )


def _explain(halves: Halves, images: Tensor, targets: Tensor, place: str) -> Maps:
    with torch.no_grad():
        found = halves.compute_maps(images)
        for maps in found:
            if maps.ndim != 4:
                raise UserError(f"{place}: its output {list(maps.shape[1:])} is no map; use --method occlusion")
        base = halves.compute_logits([torch.zeros_like(maps) for maps in found], images).float()
    leaves = [maps.detach().requires_grad_() for maps in found]
    with torch.enable_grad():
        # layers may work in place, which a leaf does not allow
        logits = halves.compute_logits([maps.clone() for maps in leaves], images).gather(1, targets[:, None])[:, 0]
        gradients = torch.autograd.grad(logits.sum(), leaves)
    parts = [(maps * each).sum(1).detach().float() for maps, each in zip(leaves, gradients, strict=True)]
    return Maps(_add(parts).cpu(), logits.detach().float().cpu(), base.gather(1, targets[:, None])[:, 0].cpu())


def _add(parts: list[Tensor]) -> Tensor:
    """The sum of maps [n, h, w] of several resolutions, in the finest one, over which a place's value is spread."""
    h, w = (max(part.shape[axis] for part in parts) for axis in (1, 2))
    return torch.stack([_spread(_spread(part, 1, h), 2, w) for part in parts]).sum(0)


def _spread(maps: Tensor, axis: int, size: int) -> Tensor:
    """Give an axis `size` places, over which the value of each old one is spread evenly, so that sums stay."""
    old = torch.arange(size, device=maps.device) * maps.shape[axis] // size
    shares = 1 / old.bincount()[old]
    return maps.index_select(axis, old) * shares.view([-1 if at == axis else 1 for at in range(maps.ndim)])
