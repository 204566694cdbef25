"""Whether maps say what a network used: measures that need no person's marks on the images."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from headstart.predict.network import Network
from headstart.visualize.why.hirescam import compute_hirescam


def read_test_images(network: Network, data, most: int) -> tuple[Tensor, Tensor]:
    """Test images that the network gets right, normalised, the most confident first, and their classes."""
    part = data.parts["test"]
    images = network.normalize(network.decode([part.split.images[int(row)] for row in part.rows]))
    with torch.no_grad():
        shares = torch.cat([network.module(some) for some in images.split(32)]).softmax(1)
    sure, answers = shares.max(1)
    right = answers == torch.from_numpy(part.labels)
    chosen = sure.where(right, -1).argsort(descending=True, stable=True)[: min(most, int(right.sum()))]
    return images[chosen], answers[chosen]


def point_in_grid(network: Network, images: Tensor, labels: Tensor) -> float:
    """The grid pointing game (Boehle et al. 2021): of what speaks for a class, the share in its cell of a 2 x 2 mosaic.

    Chance is 1/4. Each mosaic has four images of different classes, and is explained for each of them.
    """
    pools = [images[labels == label] for label in labels.unique()]
    names = labels.unique().tolist()
    found = []
    for at in range(len(pools)):
        cells = [(at + step) % len(pools) for step in (0, 1, 2, 3)]
        tiles = [pools[cell][at % len(pools[cell])] for cell in cells]
        mosaic = torch.cat([torch.cat(tiles[:2], 2), torch.cat(tiles[2:], 2)], 1)
        maps = compute_hirescam(network, mosaic.expand(4, -1, -1, -1), torch.tensor([names[cell] for cell in cells]))
        positive = maps.values.clamp(min=0)
        half = positive.shape[-1] // 2
        for place in range(4):
            y, x = place // 2 * half, place % 2 * half
            found.append(float(positive[place, y : y + half, x : x + half].sum() / positive[place].sum()))
    return float(np.nanmean(found))  # where nothing speaks for a class there is nothing to point at


def correlate(maps: Tensor, others: Tensor) -> list[float]:
    """Spearman's rank correlation of each two maps."""
    return [float(spearmanr(a.flatten(), b.flatten()).statistic) for a, b in zip(maps, others, strict=True)]


@torch.no_grad()
def delete(network: Network, images: Tensor, labels: Tensor, order: Tensor, side: int, colour: Tensor) -> Tensor:
    """The mean probability of the class while the image's places, `side` on a side, are covered in an order [n, p]."""
    ranks = order.argsort(1).view(len(images), 1, side, side).float()
    ranks = torch.nn.functional.interpolate(ranks, size=images.shape[-2:], mode="nearest")
    curve = []
    for step in range(0, order.shape[1] + 1, 2):
        covered = torch.where(ranks < step, colour, images)
        shares = torch.cat([network.module(some) for some in covered.split(32)]).softmax(1)
        curve.append(shares.gather(1, labels[:, None])[:, 0])
    return torch.stack(curve).mean(0)
