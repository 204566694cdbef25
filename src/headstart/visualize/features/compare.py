"""How strongly real images, and pictures read back from their files, excite the units of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headstart.visualize.forward import compute_map, run_to, to_input

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.visualize.features.rows import Row
    from headstart.visualize.layers import Layer
    from headstart.visualize.pool import Pool

NOISE = 16  # images of noise that stand for real ones if there are none


@dataclass(frozen=True)
class Exemplars:
    """The images of a pool that excite each unit of a row most.

    Attributes:
        numbers: [units][k] of images, the best first.
        scores: [units, k] of these images.
    """

    numbers: list[list[int]]
    scores: Tensor


@torch.no_grad()
def find_exemplars(network: Network, pool: Pool, rows: Sequence[Row], most: int) -> list[Exemplars]:
    """Find the images that excite each unit most, in one pass over the pool for all rows."""
    scores = [torch.full((len(pool), len(row.units)), -torch.inf) for row in rows]
    functions = {row.module: row.objective for row in rows if row.module is not None}
    for numbers, inputs in pool.batches(network, "the images that excite a unit most"):
        found = run_to(network.network, inputs, functions) if functions else {}
        for row, all_scores in zip(rows, scores, strict=True):
            own = found[row.module] if row.module else row.objective(compute_map(network, inputs, None))
            all_scores[numbers.start : numbers.stop] = own.float().cpu()
    best = [each.topk(min(most, len(each)), dim=0) for each in scores]
    return [Exemplars(each.indices.T.tolist(), each.values.T) for each in best]


@torch.no_grad()
def find_live_channels(network: Network, layers: Sequence[Layer], pool: Pool | None, side: int) -> dict[str, list[int]]:
    """The channels of each layer that do not answer alike to some images of the pool, or to noise."""
    if pool is not None:
        chosen = torch.linspace(0, len(pool) - 1, min(NOISE, len(pool))).long().tolist()
        pictures = pool.take(network, chosen).to(network.device) / 255
    else:
        generator = torch.Generator().manual_seed(0)
        pictures = torch.rand(NOISE, 3, side, side, generator=generator).to(network.device)

    def find(maps: Tensor) -> list[int]:
        spread = maps.transpose(0, 1).flatten(1).std(1)
        return torch.nonzero(spread > 1e-6 * spread.max())[:, 0].tolist()

    return run_to(network.network, to_input(network, pictures), {each.name: find for each in layers})


@torch.no_grad()
def measure_pictures(network: Network, row: Row, files: Sequence[Path], copies: int) -> list[float]:
    """Read the pictures of a row back from their files, and measure how strongly each excites its unit."""
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(network.device).float() / 255
    scores = row.objective(compute_map(network, to_input(network, pictures), row.module))
    own = torch.arange(len(row.units), device=scores.device).repeat_interleave(copies)[:, None]
    return scores.gather(1, own)[:, 0].tolist()
