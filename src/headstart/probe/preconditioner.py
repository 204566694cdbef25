"""Preconditioners of the logistic Hessian: approximate inverses that conjugate gradients need few steps with.

The Hessian sums ``C (diag(p) - p p') x x'`` over rows, classes times features on a side. Two parts of it are made as a
matrix, from the rows that weigh most (a sub-sampled Hessian: Erdogdu & Montanari 2015): each class's diagonal block,
which is cheap, and the whole, by pairs of classes, which knows that classes are taken for each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Inverse = Callable[[Tensor], Tensor]  # of [classes, values, r]

BYTES = 2**30  # of the matrices at once; above it all classes share one block, and pairs are left alone
SAMPLE = 2, 100  # rows that a block sums over: per feature, or of all rows per feature, whichever is more
PAIRED = 5  # pairs of classes per row, on average, that `pairs` sums: most rows lie between a few
COVERED = 0.99  # of all weight, times the squared length of its row, that these have to hold
PIECE = 2**14  # rows that are read together
JITTER = 1e-6  # of each diagonal element, where products are in single precision
SOFT = 1e-9, 1e-7  # the same of `pairs`, the second where the first is not enough


@dataclass(frozen=True)
class Curvature:
    """What a preconditioner is made of: the mean over the values of C that are solved together.

    Attributes:
        features: [n, r], the last column the bias's ones.
        probability: [classes, values, n].
        spread: p (1 - p), without cancellation [classes, values, n].
        scale: each value's C times how much each row counts, [values, 1 or n].
        penalty: the diagonal added for each class [r].
    """

    features: Tensor
    probability: Tensor
    spread: Tensor
    scale: Tensor
    penalty: Tensor


def sample_size(rows: int, width: int) -> int:
    """How many rows a class's block sums over."""
    return min(rows, max(SAMPLE[0] * width, SAMPLE[1] * rows // width))


def price(rows: int, width: int, classes: int) -> tuple[float, float]:
    """What blocks and pairs cost, in steps of conjugate gradients: big products are faster than thin ones."""
    step = 10 * rows * width * classes
    paired = 2 * PAIRED * rows * width**2 + (classes * width) ** 3 / 3
    return sample_size(rows, width) * width * classes * width / step, paired / step


def invert_blocks(at: Curvature) -> Inverse | None:
    """Each class's diagonal block ``C X' diag(p (1 - p)) X``, rescaled to the whole weight; None if it is singular."""
    rows, width = at.features.shape
    weights = (at.spread * at.scale).mean(1)
    if 16 * len(weights) * width**2 > BYTES:
        weights = weights.mean(0, keepdim=True)
    top, chosen = weights.topk(sample_size(rows, width), dim=1)
    top = top * (weights.sum(1, keepdim=True) / top.sum(1, keepdim=True).clamp_min(1e-30))
    made = at.features.new_empty(len(weights), width, width)
    for block, scale, part in zip(made, top.sqrt(), chosen, strict=True):
        held = at.features[part] * scale[:, None]
        torch.mm(held.T, held, out=block)
    diagonal = made.diagonal(dim1=1, dim2=2)
    diagonal += at.penalty
    diagonal *= 1 + JITTER
    factor, failed = torch.linalg.cholesky_ex(made)
    if bool(failed.any()):
        return None
    found = torch.cholesky_inverse(factor)
    if len(found) == 1:
        return lambda aim: (aim.flatten(0, 1) @ found[0]).view(aim.shape)
    return lambda aim: aim @ found


def invert_pairs(at: Curvature) -> Inverse | None:
    """The whole Hessian ``C sum_{j<k} p_j p_k (e_j - e_k)(e_j - e_k)' x x'``, of each pair's heaviest rows.

    The others count by their diagonal. Along equal shifts of all classes, which no gradient has, it is made as stiff as
    elsewhere. Each pair's products are in single precision; they are added up and factorised in double: directions in
    which classes move apart that nobody takes for each other are softer than single precision's error of the rest.

    Returns:
        None where rows have no pairs that stand out, as under strong regularisation, or no room.
    """
    (rows, width), classes = at.features.shape, len(at.probability)
    if 16 * (classes * width) ** 2 > BYTES or 4 * classes * (classes - 1) * rows > BYTES:
        return None
    names = list(itertools.combinations(range(classes), 2))
    scaled, squares = at.probability * at.scale, at.features.square()
    weights = torch.stack([(scaled[j] * at.probability[k]).mean(0) for j, k in names])
    mass = weights * squares.sum(1)
    heavy = mass > mass.flatten().kthvalue(max(1, mass.numel() - PAIRED * rows)).values
    if bool(mass[heavy].sum() < COVERED * mass.sum()):
        return None
    rest = weights.masked_fill(heavy, 0.0) @ squares
    whole = at.features.new_zeros(classes, width, classes, width, dtype=torch.float64)
    for (j, k), weight, chosen, light in zip(names, weights, heavy, rest, strict=True):
        block = torch.diag(light)
        for part in chosen.nonzero()[:, 0].split(PIECE):
            held = at.features[part] * weight[part].sqrt()[:, None]
            block.addmm_(held.T, held)
        whole[j, :, j] += block
        whole[k, :, k] += block
        whole[j, :, k] -= block
        whole[k, :, j] -= block
    stiff = whole.diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1).mean(0) / classes
    whole.diagonal(dim1=1, dim2=3).add_(stiff)
    made = whole.view(classes * width, -1)
    diagonal = made.diagonal()
    diagonal += at.penalty.repeat(classes)
    for share in SOFT:
        diagonal *= 1 + share
        factor, failed = torch.linalg.cholesky_ex(made)
        if not bool(failed):
            return _solver(factor.to(at.features.dtype))
    return None


def _solver(lower: Tensor) -> Inverse:
    upper = lower.T.contiguous()

    def solve(aim: Tensor) -> Tensor:
        flat = aim.transpose(1, 2).reshape(-1, aim.shape[1])
        half = torch.linalg.solve_triangular(lower, flat, upper=False)
        found = torch.linalg.solve_triangular(upper, half, upper=True)
        return found.view(len(aim), -1, aim.shape[1]).transpose(1, 2)

    return solve
