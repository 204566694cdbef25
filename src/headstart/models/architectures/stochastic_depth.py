"""Stochastic depth: in training, a residual branch is used only in a random part of the steps (Huang et al. 2016).

Block l of L survives with probability p_l: x + b_l·F(x), b_l ~ Bernoulli(p_l) (eq. 2). There are two rules that make
the network at test time equal to the expectation in training:

- `paper`: training b·F(x), test p·F(x) (eq. 5). The default, because published results were made with it.
- `inverted`: training b·F(x)/p, test F(x), as timm's and torchvision's drop path. With the same weights it has the same
  expectation, but the branch is 1/p times as large in training, so results are not exactly the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

DECAYS, MODES, RULES = ("linear", "constant"), ("batch", "image"), ("paper", "inverted")


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError if `value` is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{what}={value}: choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class Survival:
    """The probabilities with which the blocks of a network survive.

    Args:
        last: p_L, the probability of the last block, in (0, 1]; 1 is no stochastic depth.
        decay: `linear`, p_l = 1 − (l/L)(1 − p_L) (eq. 4), or `constant`, p_l = p_L.
        mode: one draw for the whole `batch`, as in the paper, or one for each `image`.
        rule: `paper` or `inverted`, see above.
    """

    last: float = 1.0
    decay: str = "linear"
    mode: str = "batch"
    rule: str = "paper"

    def __post_init__(self) -> None:
        if not 0 < self.last <= 1:
            raise ValueError(f"survival={self.last}: a probability above 0 and at most 1; 1 is no stochastic depth")
        check_choice("survival_decay", self.decay, DECAYS)
        check_choice("survival_mode", self.mode, MODES)
        check_choice("survival_rule", self.rule, RULES)

    def probability_of(self, block: int, blocks: int) -> float:
        """p_l of block l = 1 … L."""
        return self.last if self.decay == "constant" else 1 - block / blocks * (1 - self.last)

    def wrap(self, branch: nn.Module, block: int, blocks: int) -> nn.Module:
        """The branch with its probability; the branch itself if that is 1, so that it can still be traced."""
        probability = self.probability_of(block, blocks)
        return branch if probability == 1 else StochasticBranch(branch, probability, self.mode, self.rule)


@register_notrace_module  # a trace would record one draw and repeat it
class StochasticBranch(nn.Module):
    """A branch F with survival probability p; its output is added to the shortcut.

    In `batch` mode a dropped branch is not computed, which makes training shorter, as in the paper: the result is a
    zero without dimensions, and batch-norm statistics do not change. In `image` mode it is computed for all images.
    Random numbers come from torch's global generator; in batch mode from the CPU's, without waiting for the device.
    """

    def __init__(self, branch: nn.Module, probability: float, mode: str = "batch", rule: str = "paper") -> None:
        super().__init__()
        self.branch = branch
        self.probability, self.mode, self.rule = probability, mode, rule

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.branch(x) * self.probability if self.rule == "paper" else self.branch(x)
        scale = 1.0 if self.rule == "paper" else 1 / self.probability
        if self.mode == "batch":
            if torch.rand((), device="cpu").item() >= self.probability:
                return _make_zero(x, self.branch)
            return self.branch(x) * scale
        survives = torch.rand(len(x), 1, 1, 1, device=x.device) < self.probability
        y = self.branch(x)
        return y * (survives * scale).to(y.dtype)

    def extra_repr(self) -> str:
        return f"probability={self.probability:.3f}, mode={self.mode}, rule={self.rule}"


class _Zero(torch.autograd.Function):
    """Returns zero, with gradient zero for every parameter.

    With these gradients, optimizers apply weight decay to a dropped branch, as the paper's code does, and distributed
    data parallel gets the gradients that it waits for.
    """

    @staticmethod
    def forward(ctx: Any, like: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return like.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        return None, *(torch.zeros_like(p) if need else None for p, need in zip(ctx.saved_tensors, needed, strict=True))


def _make_zero(x: Tensor, branch: nn.Module) -> Tensor:
    zero: Any = _Zero.apply(x, *branch.parameters())
    return zero
