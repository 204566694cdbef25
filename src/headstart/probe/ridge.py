"""Ridge regression as a head: least squares with an L2 penalty, for a whole grid of penalties in one solve."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.probe.base import Probe, Targets, sort_values
from headstart.probe.linear import GRID, ROWS, Heads
from headstart.probe.temperature import fit_scale


class Ridge(Probe):
    """Least squares on one-hot targets with an L2 penalty; one eigendecomposition serves the whole grid.

    It takes no smoothed labels: they would scale and shift the scores of all classes alike, and change no prediction.

    Its scores lie about between 0 and 1, and a softmax of them is nearly uniform. So a head that becomes the network's
    is multiplied by the factor that gives the validation images the highest likelihood (`headstart.probe.temperature`):
    a phase of gradient steps that follows starts from logits. No prediction changes. With 20 digits a class and 3 seeds
    that phase (6 epochs) ended at 92.3 and 87.5 % at rates 1e-3 and 2e-4, NLL 0.32 and 0.39; unscaled at 93.3 and
    83.7 %, NLL 0.31 and 1.72, because epochs at a low rate do not make up for scores without a scale.

    Args:
        grid: penalties alpha in `sum_i weight_i ||x_i w - y_i||^2 + alpha ||w||^2` on centred features. A large
            alpha is strong regularisation.
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    noun = "penalty"  # what is tried: `headstart.training.head`
    probabilities = False

    def __init__(
        self,
        grid: Sequence[float] = GRID,
        refit: bool = False,
        layers: Sequence[int] = (-1,),
        poolings: Sequence[str] = ("avg",),
    ) -> None:
        super().__init__(sort_values(grid, "grid")[::-1], refit, layers, poolings)  # from strong to weak regularisation

    @torch.no_grad()
    def find_scale(self, head: nn.Module, x: Tensor, labels: Tensor) -> float:
        """Find the factor that turns the scores into logits; before a refit, which uses the validation rows."""
        return fit_scale(head(x.float()), labels)

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[Heads]:
        """Fit a head for each penalty on each set of features."""
        return [self._solve(part, targets, list(values)) for part in parts]

    def _solve(self, x: Tensor, targets: Targets, values: list[float]) -> Heads:
        """Compute the closed form in double precision, for all penalties, from the smaller of two matrices.

        With A = sqrt(weights) (x - mean) [n, d] and Y = sqrt(weights) (onehot - centre) [n, K], where mean and centre
        are weighted means (so the free bias drops out), the objective is `||A W - Y||^2 + alpha ||W||^2`. Its
        gradient is zero at `W = (A'A + alpha I)^-1 A'Y` [d, K].
        """
        classes = targets.classes
        rows = torch.ones(len(x), device=x.device) if targets.weights is None else targets.weights
        rows = rows.double()[:, None]
        total = rows.sum()
        mean = sum((part.double() * w).sum(0) for part, w in _blocks(x, rows)) / total
        wanted = functional.one_hot(targets.labels, classes).double()
        centre = (wanted * rows).sum(0) / total
        wanted = (wanted - centre) * rows.sqrt()
        # Case A, at least as many rows as features: A'A = V L V' [d, d], and W = V (L + alpha)^-1 V' A'Y.
        #   About n d^2 + d^3 operations; A is never held whole.
        # Case B, fewer rows (the kernel form): (A'A + alpha I) A' = A' (A A' + alpha I), multiplied by both inverses,
        #   gives W = A' (A A' + alpha I)^-1 Y. With A A' = U L U' [n, n] that is W = A' U (L + alpha)^-1 U' Y.
        #   About n^2 d + n^3 operations; A is held whole in double precision.
        # In both, a further alpha divides by other numbers and multiplies by the eigenvectors: no new decomposition.
        wide = len(x) < x.shape[1]
        if wide:
            held = (x.double() - mean) * rows.sqrt()
            spectrum, vectors = torch.linalg.eigh(held @ held.T)
            inside = vectors.T @ wanted
        else:
            gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
            cross = torch.zeros(x.shape[1], classes, dtype=torch.float64, device=x.device)
            for part, w, aim in _blocks(x, rows, wanted):
                held = (part.double() - mean) * w.sqrt()
                gram.addmm_(held.T, held)
                cross.addmm_(held.T, aim)
            spectrum, vectors = torch.linalg.eigh(gram)
            inside = vectors.T @ cross
        # L + alpha [values, eigenvectors]; an eigenvalue of 0 may come out a little below 0
        scales = torch.tensor(values, dtype=torch.float64, device=x.device)[:, None] + spectrum.clamp_min(0)
        found = (inside / scales[..., None]).transpose(0, 1).flatten(1)  # [eigenvectors, values x classes]
        found = vectors @ found
        found = held.T @ found if wide else found
        weight = found.view(-1, len(values), classes).permute(1, 2, 0).contiguous()
        facts = [{"value": value, "iterations": 1, "converged": True} for value in values]
        # (x - mean) w + centre = x w + (centre - mean w)
        bias = centre - weight @ mean
        return Heads(weight.float(), bias.float(), facts)


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors with the same number of rows, ROWS rows at a time."""
    return zip(*(tensor.split(ROWS) for tensor in tensors), strict=True)
