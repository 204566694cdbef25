"""Preconditioners for the Hessian of logistic regression: approximate inverses that save conjugate-gradient steps.

The Hessian is `H = sum_i C w_i kron(diag(p_i) - p_i p_i', x_i x_i') + penalty`, where kron is the Kronecker product.
For K classes and r features it has K r rows. There are two approximations to it:

- `invert_blocks` keeps each class's diagonal block [r, r] and drops what couples two classes. It is cheap. It works
  while the probabilities are spread over many classes.
- `invert_pairs` makes the whole [K r, K r]. It is for weak regularisation, where each doubtful row lies between two
  classes. To move the weights of both classes together then changes the loss little, to move them apart changes it
  much. The blocks cannot distinguish the two.

Both sum over some rows only (a sub-sampled Hessian: Erdogdu & Montanari 2015), those with the largest weight p (1 - p)
or p_j p_k. In a good fit most rows have p near 0 or 1 and a weight near 0, so that few rows make up almost all of the
sum; rows drawn at random would miss them. Nothing is drawn, so the same input gives the same bytes. An approximation
costs steps, not exactness: conjugate gradients multiply by H itself.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Inverse = Callable[[Tensor], Tensor]  # r -> M^-1 r, both [classes, values, r]

# memory limit for the matrices; above it `invert_blocks` makes one block for all classes, and `invert_pairs` gives up
BYTES = 2**30
SAMPLE = 2, 100  # a block sums over 2 r or 100 n / r rows, whichever is more
PAIRED = 5  # `invert_pairs` sums this many pairs of classes per row on average: most rows lie between a few classes
COVERED = 0.99  # the share of all weight (times the row's squared length) that these pairs must hold
PIECE = 2**14  # rows that are read together
JITTER = 1e-6  # share added to each diagonal element of a block, for the rounding of its float32 products
SOFT = 1e-9, 1e-7  # the same for `invert_pairs`; the second is added where the first was not enough


@dataclass(frozen=True)
class Curvature:
    """The numbers that a preconditioner is made from: one for all values of C solved together, from their mean.

    Attributes:
        features: [n, r]; the last column is ones, for the bias.
        probability: p [classes, values, n].
        spread: p (1 - p) [classes, values, n], with the digits of 1 - p kept.
        scale: C times the importance of each row [values, 1 or n].
        penalty: the diagonal that is added for each class [r].
    """

    features: Tensor
    probability: Tensor
    spread: Tensor
    scale: Tensor
    penalty: Tensor


def sample_size(rows: int, width: int) -> int:
    """How many of the rows a block sums over.

    At least 2 per feature, or the block would have too low a rank; or 100 / r of all rows, which are then still so few
    that the block costs as much as 100 products of X with a vector.
    """
    return min(rows, max(SAMPLE[0] * width, SAMPLE[1] * rows // width))


def estimate_costs(rows: int, width: int, classes: int) -> tuple[float, float]:
    """The cost of `invert_blocks` and of `invert_pairs`, in conjugate-gradient steps.

    With m sampled rows, `invert_blocks` makes K products [r, m] x [m, r]. `invert_pairs` makes products [r, .] x [., r]
    over PAIRED n rows in all, counted twice, and a Cholesky factorisation of K r rows, (K r)^3 / 3 operations. A step
    makes two products of n r K multiplications. It is counted as 10 n r K: its products are thin, and slower per
    multiplication.
    """
    step = 10 * rows * width * classes
    paired = 2 * PAIRED * rows * width**2 + (classes * width) ** 3 / 3
    return sample_size(rows, width) * width * classes * width / step, paired / step


def invert_blocks(at: Curvature) -> Inverse | None:
    """Invert each class's diagonal block `C X' diag(w p (1 - p)) X + penalty`, summed over its heaviest rows.

    Returns:
        None if a block is singular to working precision.
    """
    rows, width = at.features.shape
    # [classes, n]; where the blocks do not fit into memory, their mean over the classes serves for all
    weights = (at.spread * at.scale).mean(1)
    if 16 * len(weights) * width**2 > BYTES:
        weights = weights.mean(0, keepdim=True)
    # The heaviest rows, scaled up so that their weights sum to those of all rows: as if the rows left out were
    # like them on average.
    top, chosen = weights.topk(sample_size(rows, width), dim=1)
    top = top * (weights.sum(1, keepdim=True) / top.sum(1, keepdim=True).clamp_min(1e-30))
    made = at.features.new_empty(len(weights), width, width)
    for block, scale, part in zip(made, top.sqrt(), chosen, strict=True):
        # X' diag(weight) X as the product of sqrt(weight) X with itself, which is symmetric and has no negative
        # eigenvalue
        held = at.features[part] * scale[:, None]
        torch.mm(held.T, held, out=block)
    diagonal = made.diagonal(dim1=1, dim2=2)
    diagonal += at.penalty
    diagonal *= 1 + JITTER
    factor, failed = torch.linalg.cholesky_ex(made)
    if bool(failed.any()):
        return None
    # the inverse itself, [classes, r, r]: each conjugate-gradient step is then one batched product
    found = torch.cholesky_inverse(factor)
    if len(found) == 1:
        return lambda aim: (aim.flatten(0, 1) @ found[0]).view(aim.shape)
    return lambda aim: aim @ found


def invert_pairs(at: Curvature) -> Inverse | None:
    """Factorise the whole Hessian, from the rows that are heaviest for each pair of classes.

    `diag(p) - p p' = sum_{j<k} p_j p_k (e_j - e_k)(e_j - e_k)'`, where e_k are unit vectors: element (j, j) is
    `p_j sum_{k != j} p_k = p_j (1 - p_j)`, and (j, k) is `-p_j p_k`. So H is a sum over pairs, and each pair needs
    only the rows where both its classes are likely. The other rows of a pair enter by their diagonal alone.

    The products are in float32. They are added and factorised in double precision: where no row confuses two classes,
    moving these apart changes F so little that float32's error of the large elements would hide it.

    Returns:
        None where too much of the weight is in other pairs (as under strong regularisation, where all rows are alike),
        where the memory limit is passed, or where the matrix is singular to working precision.
    """
    (rows, width), classes = at.features.shape, len(at.probability)
    # the matrix and its factor in double precision; weights and masses of all pairs and rows in float32
    if 16 * (classes * width) ** 2 > BYTES or 4 * classes * (classes - 1) * rows > BYTES:
        return None
    whole = _sum_over_pairs(at)
    if whole is None:
        return None
    # An equal shift of all classes adds nothing to the sum over pairs, so the matrix is singular. The residuals that it
    # will be applied to have no such part. So the matrix of ones, times a diagonal D [r], is added over the classes: it
    # is 0 on weights that sum to zero, and K D on an equal shift. K D is the mean over classes of the diagonal.
    stiff = whole.diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1).mean(0) / classes
    whole.diagonal(dim1=1, dim2=3).add_(stiff)
    made = whole.view(classes * width, -1)
    diagonal = made.diagonal()
    diagonal += at.penalty.repeat(classes)
    for share in SOFT:
        diagonal *= 1 + share
        factor, failed = torch.linalg.cholesky_ex(made)
        if not bool(failed):
            return _make_solver(factor.to(at.features.dtype))
    return None


def _sum_over_pairs(at: Curvature) -> Tensor | None:
    """The losses' Hessian [K, r, K, r] in double precision; None if its heaviest rows hold too little of the weight."""
    (rows, width), classes = at.features.shape, len(at.probability)
    names = list(itertools.combinations(range(classes), 2))
    scaled, squares = at.probability * at.scale, at.features.square()
    # C w p_j p_k, [pairs, n]
    weights = torch.stack([(scaled[j] * at.probability[k]).mean(0) for j, k in names])
    # What a row adds to a pair is measured by `weight ||x||^2`, the trace of `weight x x'`. Of all rows of all
    # pairs the heaviest PAIRED n are summed, if they hold COVERED of the whole.
    mass = weights * squares.sum(1)
    heavy = mass > mass.flatten().kthvalue(max(1, mass.numel() - PAIRED * rows)).values
    if bool(mass[heavy].sum() < COVERED * mass.sum()):
        return None
    # diagonals of the light rows' `weight x x'`, [pairs, r]
    rest = weights.masked_fill(heavy, 0.0) @ squares
    whole = at.features.new_zeros(classes, width, classes, width, dtype=torch.float64)
    for (j, k), weight, chosen, light in zip(names, weights, heavy, rest, strict=True):
        block = torch.diag(light)
        for part in chosen.nonzero()[:, 0].split(PIECE):
            held = at.features[part] * weight[part].sqrt()[:, None]
            block.addmm_(held.T, held)
        # (e_j - e_k)(e_j - e_k)' has 1 at (j, j) and (k, k), and -1 at (j, k) and (k, j)
        whole[j, :, j] += block
        whole[k, :, k] += block
        whole[j, :, k] -= block
        whole[k, :, j] -= block
    return whole


def _make_solver(lower: Tensor) -> Inverse:
    """Solve L L' z = r by two triangular solves, for all values at once: 2 (K r)^2 operations per value.

    A product with the inverse would cost as much, and the inverse would have to be computed first.
    """
    upper = lower.T.contiguous()

    def solve(aim: Tensor) -> Tensor:
        # [classes, values, r] to [classes x r, values], and back
        flat = aim.transpose(1, 2).reshape(-1, aim.shape[1])
        half = torch.linalg.solve_triangular(lower, flat, upper=False)
        found = torch.linalg.solve_triangular(upper, half, upper=True)
        return found.view(len(aim), -1, aim.shape[1]).transpose(1, 2)

    return solve
