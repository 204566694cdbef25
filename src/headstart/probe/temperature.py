"""Turn scores into logits: one factor for all of them, fitted by likelihood."""

from torch import Tensor
from torch.nn import functional

LOWEST, HIGHEST, HALVINGS = 1e-3, 1e6, 24  # range of the factor; steps of the search, which give six digits of it


def fit_scale(scores: Tensor, labels: Tensor) -> float:
    """Find the factor s for which softmax(s scores) gives labels the highest likelihood (Guo et al. 2017, T = 1/s).

    With targets t and p = softmax(s z), the nll is convex in s: its derivative

        d nll / ds = mean_i sum_k (p_ik - t_ik) z_ik

    rises with s and is zero at the best s, which is found by halving an interval of log s. Targets are not quite
    one-hot: 1 / (n + 1) of each is shared by all classes, as one more image of unknown class would do (after Platt
    1999). Else s would be infinite if all images are classified correctly.

    Args:
        scores: z, [n, classes].
        labels: int64 [n].

    Returns:
        The factor; 1 if there are no images, or if no factor is better than equal probabilities for all classes.
    """
    if not len(labels):
        return 1.0
    z, classes, share = scores.double(), scores.shape[1], 1 / (len(labels) + 1)
    targets = (1 - share) * functional.one_hot(labels, classes) + share / classes

    def slope(scale: float) -> float:
        return float(((scale * z).softmax(1) - targets).mul_(z).sum(1).mean())

    if slope(LOWEST) >= 0:
        return 1.0
    low, high = LOWEST, HIGHEST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return (low * high) ** 0.5
