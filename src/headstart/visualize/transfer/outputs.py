"""What each depth of a network hands on to the next, and how alike it is in two networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.strategy.plan import list_parameters
from headstart.tracking import progress
from headstart.visualize.transfer.cka import Alignment, compute_gram, split_rows

if TYPE_CHECKING:
    from headstart.predict.network import Network

BATCH = 64  # images


@contextmanager
def watch_outputs(model: Any, use: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Inside this context, each forward pass calls `use(depth, output)` for each depth of the backbone.

    The output of a depth is the input of that layer of the next depth that works first, for depth 1 that of the head.
    """
    depths = {parameter.name: parameter.depth for parameter in list_parameters(model)}
    deepest, seen = max(depths.values()), set[int]()

    def watch(depth: int) -> Callable[[nn.Module, Any], None]:
        def look(_: nn.Module, inputs: Any) -> None:
            if depth not in seen and depth < deepest and inputs and isinstance(inputs[0], Tensor):
                seen.add(depth)
                use(depth + 1, inputs[0])

        return look

    handles = [model.register_forward_pre_hook(lambda *_: seen.clear())]
    for name, layer in model.named_modules():
        own = [f"{name}.{each}" if name else each for each, _ in layer.named_parameters(recurse=False)]
        found = [depths[each] for each in own if each in depths]  # a parameter that two layers share counts once
        if found:
            handles.append(layer.register_forward_pre_hook(watch(max(found))))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def compare_outputs(network: Network, first: Any, second: Any, pixels: Tensor) -> dict[int, float | None]:
    """Compute the CKA of each depth's outputs between two networks of one architecture, in float32.

    Args:
        network: knows how to normalise `pixels`, uint8 [n, 3, s, s].

    Returns:
        By depth; without those whose output could not be seen, and empty for too few images.
    """
    alignments: dict[int, Alignment] = {}
    with torch.inference_mode(), progress.task("comparing outputs", len(pixels)) as work:
        for rows in split_rows(len(pixels), BATCH):
            batch = network.normalize(pixels[rows].to(network.device))
            one, other = (_compute_grams(each, batch) for each in (first, second))
            for depth in one.keys() & other.keys():
                alignments.setdefault(depth, Alignment()).add(one[depth], other[depth])
            work.done += len(rows)
    return {depth: alignment.compute() for depth, alignment in alignments.items()}


def _compute_grams(model: Any, batch: Tensor) -> dict[int, Tensor]:
    """The Gram matrix of each depth's outputs for a batch: outputs of early depths are too large to be kept."""
    found: dict[int, Tensor] = {}

    def use(depth: int, output: Tensor) -> None:
        found[depth] = compute_gram(output)

    with watch_outputs(model, use):
        model(batch)
    return found
