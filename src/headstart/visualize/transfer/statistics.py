"""Batch-norm statistics, measured anew for weights that have changed before them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from headstart.tracking import progress

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.predict.network import Network

BATCH = 64  # images
MOST = 512  # images, of which statistics are known well enough


@torch.no_grad()
def renew_statistics(network: Network, buffers: Collection[str], pixels: Tensor) -> None:
    """Measure those batch-norm statistics anew that are among these buffers: their means over batches of images.

    All else stays in eval mode, so that nothing is dropped and no other statistics change.

    Args:
        pixels: training images, uint8 [n, 3, s, s], of which some at even distances are used.
    """
    model = network.network
    norms = [layer for name, layer in model.named_modules() if f"{name}.running_mean" in buffers]
    momenta = [norm.momentum for norm in norms]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    some = pixels[:: -(-len(pixels) // MOST)]
    try:
        with progress.task("batch-norm statistics", len(some)) as work:
            for batch in some.tensor_split(-(-len(some) // BATCH)):
                model(network.normalize(batch.to(network.device)))
                work.done += len(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
