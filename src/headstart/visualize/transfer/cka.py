"""Centred kernel alignment (CKA): how alike two networks' outputs for the same images are.

With X [n, p] and Y [n, q] the outputs for n images, K = X Xᵀ and L = Y Yᵀ say which images each network finds alike,

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

is 1 if they agree up to rotation and scale, and 0 if they have nothing to do with each other (Kornblith et al. 2019).
With few images and many dimensions the plain estimator of HSIC is near 1 for any two networks. So here it is the
unbiased one, of which the mean over batches is unbiased too (Nguyen et al. 2021, https://arxiv.org/abs/2010.15327,
equation 3). The result is not cut at 0 and 1: near them, it may lie a little beyond.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 4  # images of a batch


def compute_gram(outputs: Tensor) -> Tensor:
    """Compute the products of all pairs of outputs [n, ...], centred against rounding: float64 [n, n]."""
    flat = outputs.flatten(1).float()
    flat = flat - flat.mean(0)
    return (flat @ flat.T).double()


def estimate_hsic(k: Tensor, l: Tensor) -> float:  # noqa: E741 the field calls them K and L
    """Estimate HSIC without bias from Gram matrices [n, n] of at least 4 images (Song et al. 2012, equation 5)."""
    n = len(k)
    k, l = (gram - gram.diagonal().diag() for gram in (k, l))  # noqa: E741
    sums_k, sums_l = k.sum(1), l.sum(1)
    total = (k * l).sum() + sums_k.sum() * sums_l.sum() / ((n - 1) * (n - 2)) - 2 * (sums_k @ sums_l) / (n - 2)
    return float(total) / (n * (n - 3))


@dataclass
class Alignment:
    """The sums over batches from which CKA is computed."""

    both: float = 0.0
    first: float = 0.0
    second: float = 0.0

    def add(self, k: Tensor, l: Tensor) -> None:  # noqa: E741
        """Add a batch by its two Gram matrices."""
        self.both += estimate_hsic(k, l)
        self.first += estimate_hsic(k, k)
        self.second += estimate_hsic(l, l)

    def compute(self) -> float | None:
        """Compute CKA over all batches; None if one network's outputs do not differ from image to image."""
        if min(self.first, self.second) <= 0:
            return None
        return self.both / (self.first * self.second) ** 0.5


def split_rows(n: int, size: int) -> tuple[Tensor, ...]:
    """Split rows 0 … n - 1 into batches of nearly the same size, at most `size`; none if there are too few rows."""
    return torch.arange(n).tensor_split(-(-n // size)) if n >= LEAST else ()
