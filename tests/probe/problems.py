"""Rows that probes are fitted on, and what scikit-learn makes of them."""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

Rows = tuple[Tensor, Tensor, Tensor, Tensor]


def objective(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, c: float) -> float:
    """scikit-learn's objective in float64."""
    logits = x.double() @ weight.double().T + bias.double()
    return float(c * functional.cross_entropy(logits, y, reduction="sum") + 0.5 * weight.double().square().sum())


def reference(x: Tensor, y: Tensor, c: float) -> tuple[Tensor, Tensor]:
    """scikit-learn's solution at tol=1e-10."""
    model = LogisticRegression(C=c, tol=1e-10, max_iter=20000).fit(x.double().numpy(), y.numpy())
    return torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)


def widened(x: Tensor) -> Tensor:
    """The same rows in 320 correlated features: fewer rows than features for a small cut."""
    mix = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)) / 8
    return torch.cat([x, (x @ mix).relu()], 1)
