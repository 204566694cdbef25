"""Penalties that a phase adds to its loss; a strategy file names one by `_target_` under `penalty`.

A penalty is anything that is called with the parameters that learn and the pretrained values of those that have one,
both by name, and returns a scalar.
"""

from collections.abc import Mapping

from torch import Tensor

from headstart.errors import UserError


class L2SP:
    """L2-SP: `alpha / 2 ||w - w0||^2 + beta / 2 ||v||^2` (Li, Grandvalet & Davoine 2018, equation 2).

    Args:
        alpha: of the parameters w that start from pretrained values w0.
        beta: of those without one, v: the new head's.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 0.01) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UserError(f"penalty.{name}={value}: must be a number, 0 or above")
        self.alpha, self.beta = alpha, beta

    def __call__(self, learning: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor:
        """The penalty of the parameters `learning`; `start` holds w0."""
        kept = [(value - start[name]).square().sum() for name, value in learning.items() if name in start]
        new = [value.square().sum() for name, value in learning.items() if name not in start]
        zero = next(iter(learning.values())).new_zeros(())
        return self.alpha / 2 * sum(kept, zero) + self.beta / 2 * sum(new, zero)
