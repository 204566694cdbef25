"""Penalties that a phase adds to its loss; a strategy file names one by `_target_` under `penalty`.

A penalty is a callable. It gets two mappings by parameter name: the parameters that learn, and the pretrained values
of those that have one. It returns a scalar.
"""

from collections.abc import Mapping

from torch import Tensor

from headstart.errors import UserError


class L2SP:
    """L2-SP: `alpha / 2 ||w - w0||^2 + beta / 2 ||v||^2` (Li, Grandvalet & Davoine 2018, equation 2).

    Args:
        alpha: strength for the parameters w, which start from the pretrained values w0.
        beta: strength for the parameters v, which have no pretrained value: those of the new head.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 0.01) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UserError(f"penalty.{name}={value}: must be a number, 0 or above")
        self.alpha, self.beta = alpha, beta

    def __call__(self, learning: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor:
        """Compute the penalty of the parameters `learning`; `start` holds w0."""
        pretrained = [(value - start[name]).square().sum() for name, value in learning.items() if name in start]
        new = [value.square().sum() for name, value in learning.items() if name not in start]
        zero = next(iter(learning.values())).new_zeros(())
        return self.alpha / 2 * sum(pretrained, zero) + self.beta / 2 * sum(new, zero)
